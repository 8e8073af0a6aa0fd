#!/bin/sh
# Installs the suite's dependencies (Python packages outside the checkout, npm packages next to package.json), each
# only when a pin has changed, and prints the path of the virtual environment.
set -eu

cd "$(dirname "$0")"

fail() {
    printf 'tests/sdk: %s\n' "$1" >&2
    exit 1
}

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.11 or later, as the SDKs do: apt-get install python3 python3-venv"
node=$(node --version 2>/dev/null || echo none)
[ "$(printf 'v20.15\n%s\n' "$node" | sort -V | head -n 1)" = v20.15 ] || fail "needs Node.js 20.15 or later, found $node"
command -v npm >/dev/null || fail "needs npm: apt-get install npm"

# One virtual environment per set of pins and interpreter.
pins=$({ cat requirements.txt; "$python" -VV; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/keyside
venv=$cache/sdk-$pins
if [ ! -e "$venv/complete" ]; then
    mkdir -p "$cache"
    "$python" -m venv --clear "$venv" || fail "could not make a virtual environment: apt-get install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt >&2
    touch "$venv/complete"
fi

# Next to package.json, where Node looks for it.
lock=$(sha256sum <package-lock.json | cut -c1-16)
if [ ! -e "node_modules/.complete-$lock" ]; then
    npm ci --no-audit --no-fund --loglevel=error >&2
    touch "node_modules/.complete-$lock"
fi

printf '%s\n' "$venv"
