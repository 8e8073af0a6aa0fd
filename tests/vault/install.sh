#!/bin/sh
# Installs the suite's dependencies outside the checkout, again only when a pin has changed, and prints the path of the
# virtual environment. OpenBao's server is in one of the packages.
set -eu

cd "$(dirname "$0")"

fail() {
    printf 'tests/vault: %s\n' "$1" >&2
    exit 1
}

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.11 or later: apt-get install python3 python3-venv"

# One virtual environment per set of pins and interpreter.
pins=$({ cat requirements.txt; "$python" -VV; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/keyside
venv=$cache/vault-$pins
if [ ! -e "$venv/complete" ]; then
    mkdir -p "$cache"
    "$python" -m venv --clear "$venv" || fail "could not make a virtual environment: apt-get install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt >&2
    touch "$venv/complete"
fi

printf '%s\n' "$venv"
