#!/usr/bin/env bash
# Apptainer in a root of its own: no package for Debian 12 exists, and the system stays as it is.
#   apptainer.sh ROOT COMMAND...
# sets ROOT up (once, half a minute), then runs COMMAND inside, as root, in FOLDER. The folders that WRITABLE and
# READABLE name (separated by colons) are seen inside at the same place.
# Needs root, Debian with apt, and about 700 MB at ROOT. Nothing stays mounted or running when it ends.
set -euo pipefail

# Debian's testing release has no Apptainer either: that one package comes from unstable, all else from trixie.
release=trixie
pins='Package: *
Pin: release n=sid
Pin-Priority: 1

Package: apptainer
Pin: release n=sid
Pin-Priority: 990'
packages=apptainer,squashfs-tools,squashfuse,fuse3,uidmap,ca-certificates,mmdebstrap,ubuntu-keyring

here=$(realpath "${BASH_SOURCE[0]}")
[ "$(id -u)" = 0 ] || { echo 'apptainer.sh: needs root, for mounts.' >&2; exit 3; }
[ $# -ge 2 ] || { sed -n '2,6s/^# \?//p' "$here"; exit 2; }
root=$(realpath -m "$1")
shift
. "${here%/*}/../mirrors.sh"

# mmdebstrap is a Perl program that runs where it is unpacked: the system need not have it.
mmdebstrap() {
    local tools=$root.tools
    if ! type -P mmdebstrap >/dev/null && [ ! -x "$tools/usr/bin/mmdebstrap" ]; then
        mkdir -p "$tools"
        cd "$tools"
        apt-get --quiet=2 -o APT::Sandbox::User=root download mmdebstrap
        dpkg --extract mmdebstrap_*.deb .
        cd - >/dev/null
    fi
    PATH=$PATH:$tools/usr/bin command mmdebstrap "$@"
}

set_up() {
    local uri
    uri=$(mirror debian)
    rm -rf "$root" "$root.new"
    # A mirror may be frozen at a date that its own signature has outlived.
    mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --setup-hook='mkdir -p "$1/etc/apt/preferences.d"' --setup-hook="echo '$pins' >\"\$1/etc/apt/preferences.d/pins\"" \
        "$release" "$root.new" "deb $uri $release main" "deb $uri sid main"
    # For builds and runs in a user namespace: this machine may withhold capabilities that root has elsewhere.
    echo root:100000:65536 | tee "$root.new/etc/subuid" >"$root.new/etc/subgid"
    touch "$root.new/etc/localtime" "$root.new/etc/hosts" "$root.new/etc/resolv.conf"
    mkdir -p "$root.new/.old"
    mv "$root.new" "$root"
    cp "$here" "$root/.set-up"
}

# In namespaces of its own: ROOT becomes / for COMMAND alone. A plain chroot would do, but Apptainer refuses in one.
if [ "${1-}" = --enter ]; then
    shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%:*}" "$root/dev/${n#*:}"; done
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    mknod -m 666 "$root/dev/fuse" c 10 229
    for loop in /dev/loop-control /dev/loop[0-9]*; do
        [ ! -e "$loop" ] || cp --archive "$loop" "$root/dev/"
    done
    for file in /etc/hosts /etc/resolv.conf; do mount --bind "$file" "$root$file"; done
    # The writable ones last: they may lie within the others.
    IFS=: read -ra folders <<<"${READABLE-}"
    for folder in "${folders[@]}"; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
        mount -o remount,bind,ro "$root$folder"
    done
    IFS=: read -ra folders <<<"${WRITABLE-}"
    for folder in "${folders[@]}"; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    cd "$root"
    pivot_root . .old
    umount --lazy /.old
    cd "${FOLDER:-/}"
    exec env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
fi

# A changed script sets up anew.
if ! cmp --silent "$here" "$root/.set-up"; then
    began=$SECONDS
    set_up >&2
    echo "apptainer.sh: set up in $((SECONDS - began)) s" >&2
fi
exec unshare --mount --propagation private --pid --fork --kill-child -- "$here" "$root" --enter "$@"
