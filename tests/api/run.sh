#!/bin/sh
# Calls the admin API of the real keyside (KEYSIDE_BIN, or else the debug build) with requests that its committed
# description (docs/openapi.json) allows and forbids. Installs packages once, and again only when a pin changes.
# Arguments go to schemathesis: `run.sh --max-examples 500`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

packages_of api
exec "$venv/bin/python" -B fuzz.py "$venv/bin/schemathesis" "$@"
