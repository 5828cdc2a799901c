#!/bin/sh
# What every image's %post does, offline: the wheelhouse that %files copied holds all packages.
#   body.sh PYTHON LOCK_SHA256 DEBS_SHA256
# Leaves in /opt/sweepmark: venv, python.lock, debian.lock, pip-freeze.txt, dpkg-list.txt, definition.sha256 and
# selftest.py. Two builds from the same inputs leave the same bytes.
set -eu
python=$1 lock_sha256=$2 debs_sha256=$3
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
umask 022
cd /opt/sweepmark
# Never /tmp, /var/tmp or root's home: those may be the host's own while an image is built.
mkdir scratch
export TMPDIR="$PWD/scratch" HOME="$PWD/scratch" XDG_CACHE_HOME="$PWD/scratch"

check() {
    echo "$1  $2" | sha256sum --check --quiet || { echo "$2 is not the lock that the definition names."; exit 1; }
}
check "$lock_sha256" python.lock
check "$debs_sha256" debian.lock

# Python and a C++ compiler (DeepSpeed builds its operators when it first needs them), from the base's distribution.
grep -v '^#' debian.lock | while read -r sha256 _ path; do
    echo "$sha256  $PWD/wheelhouse/debs/${path##*/}"
done >scratch/debs.sha256
sha256sum --check --quiet scratch/debs.sha256
if [ -s scratch/debs.sha256 ]; then
    sed 's/.*  //' scratch/debs.sha256 | xargs apt-get install --yes --quiet=2 --no-install-recommends \
        >scratch/apt.log 2>&1 || { cat scratch/apt.log; exit 1; }
fi
found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$found" = "$python" ] || { echo "The image should hold Python $python, and holds $found."; exit 1; }

# pip runs from its own wheel, so that the base's pip, if any, is never used. What needs building comes before torch,
# which its set-up would import.
python3 -m venv --without-pip --symlinks venv
pip() {
    venv/bin/python "$(echo wheelhouse/wheels/pip-*.whl)/pip" install --quiet --no-index --no-deps --no-compile \
        --find-links wheelhouse/wheels --no-cache-dir --disable-pip-version-check --no-input \
        --root-user-action=ignore "$@"
}
only() {
    awk -v names=" $* " '/^[a-z0-9]/ { split($1, part, "=="); keep = index(names, " " part[1] " ") } keep' python.lock
}
only pip setuptools wheel packaging >scratch/tools.txt
only deepspeed hpbandster >scratch/sources.txt
pip --require-hashes --requirement scratch/tools.txt
pip --require-hashes --no-build-isolation --requirement scratch/sources.txt
pip --require-hashes --requirement python.lock
pip wheelhouse/project/sweepmark-*.whl
# The lock leaves netifaces out, and nothing else.
broken=$(venv/bin/pip check | grep -E ' requires | has requirement ' | grep -v ' requires netifaces,' || true)
[ -z "$broken" ] || { echo "$broken"; exit 1; }

# Start-up reads byte code, and an image cannot add it later: all of it, in files that carry no time. Some packages hold
# templates and sources of other Pythons, which do not compile.
find /usr venv -xdev -name __pycache__ -prune -exec rm -rf {} +
venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "/usr/lib/python$python" venv/lib \
    >/dev/null || true

venv/bin/pip list --format=freeze --disable-pip-version-check | sort >pip-freeze.txt
dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\n' | sort >dpkg-list.txt
sha256sum definition | sed 's/ .*//' >definition.sha256

# What differs from build to build, or serves none.
rm -rf wheelhouse scratch body.sh /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/cache/debconf/* \
    /var/lib/dpkg/*-old /var/log/* /etc/*-
