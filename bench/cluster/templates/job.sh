#!/bin/bash
{% for option in options -%}
#SBATCH {{ option }}
{% endfor -%}
# Written by `sweepmark submit`, and again by `sweepmark resume`: change the site file and submit again.

export SWEEPMARK_STARTED_S=$(date +%s.%N)
scratch= job=
trap '[ -z "$scratch" ] || rm -rf "$scratch"; [ -z "$job" ] || echo over >&8' EXIT
trap '[ -n "$job" ] || exit 143; kill -TERM "$job" 2>/dev/null' TERM INT
{% for module in modules -%}
module load {{ module }} || exit 1
{% endfor -%}
{% for line in setup -%}
{{ line }}
{% endfor -%}
{% if interface -%}
export GLOO_SOCKET_IFNAME={{ interface }} NCCL_SOCKET_IFNAME={{ interface }}
{% endif -%}
{% if offline -%}
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
{% endif -%}
# Folders of this node's jobs that were killed with all their processes: nobody holds them any more.
for left in {{ scratch }}/sw-*; do
    [ -O "$left" ] && [ "$(cat "$left/.node" 2>/dev/null)" = "$HOSTNAME" ] && (flock -n 9 && rm -rf "$left") 9<"$left"
done
scratch=$(mktemp -d {{ scratch }}/sw-XXXXXX) || exit 1
exec 9<"$scratch"
flock 9
echo "$HOSTNAME" >"$scratch/.node"
export TMPDIR=$scratch
{% if passed %}
passed=()
for name in {{ passed | join(" ") }}; do
    [ -z "${!name+set}" ] || passed+=(--env "$name=${!name}")
done
{% endif %}
{{ command }} &
job=$!
# Where this script is killed alone, nobody else would end what it has started.
exec 8> >(trap '' TERM INT; read -r _ || { kill -KILL "$job"; rm -rf "$scratch"; })
# A signal ends the wait, not the job that it was passed on to.
while :; do
    wait "$job"
    status=$?
    kill -0 "$job" 2>/dev/null || exit "$status"
done
