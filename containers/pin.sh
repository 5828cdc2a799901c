#!/bin/sh
# Writes the hashes of the locks into the definitions that name them, so that a definition's own hash fixes both.
set -eu
cd "$(dirname "$0")/.."
for definition in containers/*.def; do
    for name in lock debs; do
        lock=$(sed -n "s/^    $name=//p" "$definition")
        sed -i "s/^    ${name}_sha256=.*/    ${name}_sha256=$(sha256sum "$lock" | cut -c -64)/" "$definition"
    done
done
