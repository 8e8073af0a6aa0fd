#!/bin/sh
# Calls the admin API of the real keyside (KEYSIDE_BIN, or else the debug build) with requests that its committed
# description (docs/openapi.json) allows and forbids. Installs packages once, and again only when a pin changes.
# Arguments go to schemathesis: `run.sh --max-examples 500`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

pins=$({ cat requirements.txt; python3 -VV; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/keyside
venv=$cache/api-$pins
if [ ! -e "$venv/complete" ]; then
    mkdir -p "$cache"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
    touch "$venv/complete"
fi

exec "$venv/bin/python" -B fuzz.py "$venv/bin/schemathesis" "$@"
