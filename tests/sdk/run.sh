#!/bin/sh
# Runs the tests of the real SDKs with the real keyside (KEYSIDE_BIN, or else the debug build).
# Installs packages once, and again only when a pin changes. Arguments go to pytest: `run.sh -k realtime`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

venv=$(./install.sh)
exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
