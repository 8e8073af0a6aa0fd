#!/bin/sh
# Runs docs/examples/builder in Chromium, with the real keyside behind it (KEYSIDE_BIN, or else the debug build). CHROMIUM names
# another browser binary. Arguments go to Node's test runner: `run.sh --test-name-pattern focus`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

browser_tests "$@"
