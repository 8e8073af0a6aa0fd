#!/bin/sh
# Runs the real keyside (KEYSIDE_BIN, or else the debug build) with a real OpenBao, which the suite starts.
# Installs packages once, and again only when a pin changes. Arguments go to pytest: `run.sh -k seal`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

venv=$(./install.sh)
exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
