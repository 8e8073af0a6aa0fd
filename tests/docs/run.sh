#!/bin/sh
# Runs the commands of the documents with the real keyside (KEYSIDE_BIN, or else the debug build): documents.toml says which, and why
# others are not run here. test_runbooks.py brings about the state that each alert is about. Arguments go to pytest: `run.sh -k expired`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

# pytest and the harness come from the SDK suite.
venv=$(../sdk/install.sh)
exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
