#!/bin/sh
# Runs provider_smoke.py, the script of .github/workflows/provider-smoke.yml, as a runner of GitHub does, with the real keyside
# (KEYSIDE_BIN, or else the debug build) and stand-ins of the providers. Arguments go to pytest: `run.sh -k funds`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

# pytest, the harness and aimock come from the SDK suite.
venv=$(../sdk/install.sh)
exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
