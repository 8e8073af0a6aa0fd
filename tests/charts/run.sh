#!/bin/sh
# Renders charts/keyside with Helm, validates every object, and starts the real keyside (KEYSIDE_BIN, or else the debug build) with the
# command lines and settings that the chart renders. Installs packages once, and again only when a pin changes. Arguments go to pytest:
# `run.sh -k sidecar`; `run.sh --write` accepts the rendered objects as the new snapshots.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

pins=$({ cat requirements.txt; python3 -VV; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/keyside
venv=$cache/charts-$pins
if [ ! -e "$venv/complete" ]; then
    mkdir -p "$cache"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
    touch "$venv/complete"
fi

exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
