#!/bin/sh
# Walks through the admin page in Chromium, with the real keyside behind it (KEYSIDE_BIN, or else the debug build). CHROMIUM names
# another browser binary; KEYSIDE_UI_SCREENSHOTS names a folder for a screenshot of each page, and KEYSIDE_UI_PICTURES one for the
# pictures of the documentation, which fonts-inter and fonts-jetbrains-mono of Debian make look as on most people's machines. Arguments go
# to Node's test runner: `run.sh --test-name-pattern keyboard`.
set -eu

start=$PWD
case ${KEYSIDE_BIN:-} in
"" | /*) ;;
*) export KEYSIDE_BIN="$start/$KEYSIDE_BIN" ;;
esac
cd "$(dirname "$0")"

fail() {
    printf 'tests/ui: %s\n' "$1" >&2
    exit 1
}

node=$(node --version 2>/dev/null || echo none)
[ "$(printf 'v20.15\n%s\n' "$node" | sort -V | head -n 1)" = v20.15 ] || fail "needs Node.js 20.15 or later, found $node"
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
[ -n "$CHROMIUM" ] || fail "needs Chromium: apt-get install chromium"
export CHROMIUM
case ${KEYSIDE_UI_SCREENSHOTS:-} in
"" | /*) ;;
*) export KEYSIDE_UI_SCREENSHOTS="$start/$KEYSIDE_UI_SCREENSHOTS" ;;
esac
case ${KEYSIDE_UI_PICTURES:-} in
"" | /*) ;;
*) export KEYSIDE_UI_PICTURES="$start/$KEYSIDE_UI_PICTURES" ;;
esac

# Next to package.json, where Node looks for it.
lock=$(sha256sum <package-lock.json | cut -c1-16)
if [ ! -e "node_modules/.complete-$lock" ]; then
    npm ci --no-audit --no-fund --loglevel=error >&2
    touch "node_modules/.complete-$lock"
fi

if [ -n "${KEYSIDE_UI_PICTURES:-}" ]; then
    export FONTCONFIG_FILE="$PWD/fonts.conf"
    set -- --test-name-pattern 'the manual checklist|pages of (keys|what)' "$@"
fi

# One browser at a time.
exec node --test --test-concurrency=1 "$@" .
