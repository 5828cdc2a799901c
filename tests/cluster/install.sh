#!/usr/bin/env bash
# Debian's SLURM and munge, for the throwaway cluster of the tests. None of the system's own services is started: a
# policy says no to each while the packages are installed, unless the machine has a policy of its own.
# Needs root, and Debian or a system made from it. Does nothing where all is there.
set -euo pipefail

missing() { for program in slurmctld slurmd munged sbatch; do type -P "$program" >/dev/null || echo "$program"; done; }

PATH=$PATH:/usr/sbin:/sbin
[ -n "$(missing)" ] || exit 0
[ "$(id -u)" = 0 ] || { echo 'install.sh: needs root, to install packages.' >&2; exit 3; }
type -P apt-get >/dev/null || { echo 'install.sh: there is no apt-get here: install SLURM and munge by hand.' >&2; exit 3; }

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet=2 update
apt-get --quiet=2 install --yes --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
[ -z "$(missing)" ] || { echo "install.sh: these are still missing: $(missing | xargs)." >&2; exit 1; }
