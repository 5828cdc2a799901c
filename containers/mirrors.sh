# mirror ARCHIVE: where debian, debian-security or ubuntu is had, without a slash at its end: DEBIAN_MIRROR or
# UBUNTU_MIRROR (ending in /debian, /ubuntu) where it is set, else this machine's own apt configuration, and of another
# distribution's archive the host of that.
mirror() {
    local own given=$DEBIAN_MIRROR
    [ "$1" != ubuntu ] || given=$UBUNTU_MIRROR
    own=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 2>/dev/null | grep '^https\?://' || true)
    own=$(grep "/${1%%-*}/\$" <<<"$own" || echo "$own")
    own=${given:-${own%%$'\n'*}}
    [ -n "$own" ] || { echo "apt knows no mirror here: set DEBIAN_MIRROR and UBUNTU_MIRROR." >&2; return 1; }
    own=${own%/}
    echo "${own%/*}/$1"
}
: "${DEBIAN_MIRROR:=}" "${UBUNTU_MIRROR:=}" "${SNAPSHOT:=}"

# snapshot ARCHIVE TIME: the same as it was then, from the service of old packages whose address SNAPSHOT gives, with the
# words ARCHIVE and TIME in it; nothing without one.
snapshot() {
    local address=${SNAPSHOT//ARCHIVE/$1}
    echo "${address//TIME/$2}"
}
