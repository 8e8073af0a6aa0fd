#!/bin/sh
# Runs the recipes in config/recipes/ with the real clients against the real keyside, named by KEYSIDE_BIN or else the debug
# build. The first test that needs a client installs it into a cache outside the checkout; it is installed again only when a pin
# changes. Arguments go to pytest: `run.sh -m quick`, `run.sh -k langchain`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

# pytest, the harness and the fake providers come from the SDK suite.
venv=$(../sdk/install.sh)
exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
