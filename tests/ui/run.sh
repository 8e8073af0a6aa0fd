#!/bin/sh
# Walks through the admin page in Chromium, with the real keyside behind it (KEYSIDE_BIN, or else the debug build). CHROMIUM names
# another browser binary; KEYSIDE_UI_SCREENSHOTS names a folder for a screenshot of each page. Arguments go to Node's test runner:
# `run.sh --test-name-pattern keyboard`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

if [ -n "${KEYSIDE_UI_SCREENSHOTS:-}" ]; then
    KEYSIDE_UI_SCREENSHOTS=$(absolute "$KEYSIDE_UI_SCREENSHOTS")
fi
# One browser at a time.
browser_tests --test-concurrency=1 "$@"
