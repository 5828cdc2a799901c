#!/usr/bin/env bash
# Renews containers/cpu.lock and containers/gpu.lock: the pins of requirements.lock, with the hash of every file, for
# the Python and the torch of the images. Indexes are those of pip's own configuration; none is written into a lock.
#   lock.sh [cpu|gpu]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# $1: what a lock is for. The versions of Python are those of the bases, the torch of the GPU images is explained in the
# README beside this.
python_of() {
    case $1 in
        cpu) echo 3.11 ;;
        gpu) echo 3.12 ;;
        *) echo "lock.sh: there is no lock '$1': cpu or gpu" >&2; exit 2 ;;
    esac
}
torch_of() {
    case $1 in
        # The build is named, since the default one of the same version brings CUDA.
        cpu) sed -n 's/^\(torch==[^ ]*\) .*/\1+cpu/p' requirements.lock ;;
        gpu) echo torch==2.10.0 ;;
    esac
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The resolver can resolve for another Python than its own.
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install 'uv>=0.9'

configured() { "$work/venv/bin/pip" config list | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | tail -n 1; }
index=$(configured index-url)
extra=$(configured extra-index-url | tr ' ' '\n' | grep '^https\?:' | tr '\n' ' ' || true)
links=$(configured find-links)
[ -z "$index" ] || export UV_DEFAULT_INDEX=$index
[ -z "$extra" ] || export UV_EXTRA_INDEX_URL=$extra
[ -z "$links" ] || export UV_FIND_LINKS=${links// /,}
[ -z "$(configured cert)" ] || SSL_CERT_FILE=$(configured cert)
export SSL_CERT_FILE UV_CACHE_DIR=$work/cache

for lock in ${@:-cpu gpu}; do
    python=$(python_of "$lock")
    # What the images build with: DeepSpeed and HpBandSter come as source, the project itself as a wheel.
    printf '%s\n' setuptools wheel packaging pip "$(torch_of "$lock")" >"$work/in"
    sed -e '/^torch==/d' -e 's/ *#.*//' requirements.lock >"$work/constraints"
    "$work/venv/bin/uv" pip compile --quiet --no-config --python-version "$python" --no-python-downloads \
        --python-platform x86_64-manylinux_2_28 --index-strategy unsafe-best-match --constraints "$work/constraints" \
        --generate-hashes --no-header --no-annotate --no-emit-package netifaces --output-file "$work/out" \
        pyproject.toml "$work/in"
    {
        echo "# Made by \`make lock-containers\` for Python $python on Linux x86-64: the pins of requirements.lock, with hashes."
        echo '# Left out, as there: netifaces. HpBandSter asks for it only to name a network card.'
        sed '/^#/d' "$work/out"
    } >"containers/$lock.lock"
    echo "containers/$lock.lock: $(grep -c '^[a-z].*==' "containers/$lock.lock") packages for Python $python"
done
