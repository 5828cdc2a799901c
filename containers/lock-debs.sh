#!/usr/bin/env bash
# Renews containers/cpu.debs and containers/gpu.debs: what the images take from the distribution of their base, with all
# that it needs and the hash of every file. Runs where apt does; for Ubuntu's, the package ubuntu-keyring must be there.
#   lock-debs.sh [cpu|gpu]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. containers/mirrors.sh

# Python, and a C++ compiler with Python's headers for the operators that DeepSpeed builds.
wanted=(python3 libpython3-dev g++)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for lock in ${@:-cpu gpu}; do
    case $lock in
        cpu)
            keys=debian-archive-keyring
            suites='debian:bookworm debian:bookworm-updates debian-security:bookworm-security'
            ;;
        gpu)
            keys=ubuntu-archive-keyring
            suites='ubuntu:noble ubuntu:noble-updates ubuntu:noble-security'
            ;;
        *) echo "lock-debs.sh: there is no lock '$lock': cpu or gpu" >&2; exit 2 ;;
    esac
    rm -rf "$work/apt"
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    for suite in $suites; do
        echo "deb [signed-by=/usr/share/keyrings/$keys.gpg] $(mirror "${suite%:*}") ${suite#*:} main"
    done >"$work/apt/sources.list"
    # As if nothing were installed: packages of the base that these depend on are then named too, and upgraded.
    options=(-o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State::Lists="$work/apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/apt/cache"
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none
        -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o APT::Sandbox::User=root)
    apt-get "${options[@]}" --quiet=2 update
    # 'http://mirror/debian/pool/…/g++_1%3a2.deb' …   becomes   debian pool/…/g++_1:2.deb
    apt-get "${options[@]}" --quiet=2 --no-install-recommends --print-uris install "${wanted[@]}" |
        sed -n "s|^'.*/\([^/]*\)/\(pool/[^']*\)'.*|\1 \2|p" | sed 's/%2b/+/g; s/%7e/~/g; s/%3a/:/g' >"$work/paths"
    [ -s "$work/paths" ] || { echo "lock-debs.sh: apt finds no packages for $lock." >&2; exit 1; }
    sed 's|.*/\([^_/]*\)_.*|\1|' "$work/paths" | xargs apt-cache "${options[@]}" show |
        awk '/^Filename:/ { path = $2 } /^SHA256:/ { print path, $2 }' >"$work/hashes"
    {
        echo "# Made by \`make lock-containers\` on $(date --utc +%Y%m%dT000000Z): ${wanted[*]} and what they need,"
        echo "# of ${suites// /, }."
        awk 'NR == FNR { hash[$1] = $2; next }
            !($2 in hash) { print "no hash of " $2 >"/dev/stderr"; exit 1 }
            { print hash[$2], $1, $2 }' "$work/hashes" "$work/paths" | LC_ALL=C sort --key 3
    } >"$work/out"
    mv "$work/out" "containers/$lock.debs"
    echo "containers/$lock.debs: $(grep -vc '^#' "containers/$lock.debs") packages"
done
