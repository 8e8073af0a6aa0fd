#!/bin/sh
# Runs the tests of the real SDKs with the real keyside (KEYSIDE_BIN, or else the debug build).
# Installs packages once, and again only when a pin changes. Arguments go to pytest: `run.sh -k realtime`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with sdk "$@"
