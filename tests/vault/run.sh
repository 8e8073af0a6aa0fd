#!/bin/sh
# Runs the real keyside (KEYSIDE_BIN, or else the debug build) with a real OpenBao, which the suite starts.
# Installs packages once, and again only when a pin changes. Arguments go to pytest: `run.sh -k seal`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with vault "$@"
