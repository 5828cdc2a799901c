#!/usr/bin/env bash
# Fills a wheelhouse, from which an image can be built without a network: archive it with the image.
#   wheelhouse.sh cpu|gpu FOLDER [wheels|debs|project]...
# FOLDER/wheels: what containers/<name>.lock names, by pip and its own configuration (indexes, mirrors, certificates).
# FOLDER/debs: what containers/<name>.debs names, from this machine's mirror, else from the service of old packages that
# SNAPSHOT names (see mirrors.sh). FOLDER/project: this checkout as a wheel. Every file is checked against its hash; those
# already there are kept.
set -euo pipefail
name=$1 folder=$(realpath -m "$2")
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. containers/mirrors.sh
PYTHON=${PYTHON:-python3}
PIP=("$PYTHON" -m pip --disable-pip-version-check --no-input)
case $name in
    cpu) python=3.11 ;;
    gpu) python=3.12 ;;
    *) echo "wheelhouse.sh: there is no lock '$name': cpu or gpu" >&2; exit 2 ;;
esac

wheels() {
    # Locks hold the hashes of many platforms: the images' own is chosen here, whatever machine this is.
    local minor platforms=()
    for minor in $(seq 5 36); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
    "${PIP[@]}" download -qq --no-deps --require-hashes --requirement "containers/$name.lock" --dest "$folder/wheels" \
        --python-version "$python" --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 \
        --platform manylinux2010_x86_64 --platform manylinux1_x86_64 --platform linux_x86_64
    # What an older lock left behind.
    sha256sum "$folder"/wheels/* | while read -r sha256 file; do
        grep -qF "sha256:$sha256" "containers/$name.lock" || rm "$file"
    done
}

fetch() {
    "$PYTHON" -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$1" "$2" 2>/dev/null
}

debs() {
    local time sha256 archive path file source
    time=$(sed -n 's/^# Made by .* on \([0-9TZ]*\):.*/\1/p' "containers/$name.debs")
    grep -v '^#' "containers/$name.debs" | while read -r sha256 archive path; do
        file=$folder/debs/${path##*/}
        [ -e "$file" ] || for source in $(mirror "$archive") $(snapshot "$archive" "$time"); do
            fetch "$source/${path//+/%2B}" "$file.part" && mv "$file.part" "$file" && break
        done || {
            echo "wheelhouse.sh: ${path##*/} is not to be had: make lock-containers renews the lock." >&2
            exit 1
        }
        echo "$sha256  $file" | sha256sum --check --quiet
    done
}

project() {
    # A wheel of another commit beside it would be ambiguous.
    rm -f "$folder"/project/*
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)} \
        "${PIP[@]}" wheel -qq --no-deps --wheel-dir "$folder/project" .
}

for step in ${@:-wheels debs project}; do
    mkdir -p "$folder/$step"
    "$step"
done
