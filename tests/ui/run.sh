#!/bin/sh
# Walks through the admin page in Chromium, with the real keyside behind it (KEYSIDE_BIN, or else the debug build). CHROMIUM names
# another browser binary; KEYSIDE_UI_SCREENSHOTS names a folder for a screenshot of each page, and KEYSIDE_UI_PICTURES one for the
# pictures of the documentation, which fonts-inter and fonts-jetbrains-mono of Debian make look as on most people's machines. Arguments go
# to Node's test runner: `run.sh --test-name-pattern keyboard`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

for folder in KEYSIDE_UI_SCREENSHOTS KEYSIDE_UI_PICTURES; do
    eval "given=\${$folder:-}"
    [ -z "$given" ] || export "$folder=$(absolute "$given")"
done
if [ -n "${KEYSIDE_UI_PICTURES:-}" ]; then
    export FONTCONFIG_FILE="$PWD/fonts.conf"
    set -- --test-name-pattern 'the manual checklist|pages of (keys|what)' "$@"
fi

# One browser at a time.
browser_tests --test-concurrency=1 "$@"
