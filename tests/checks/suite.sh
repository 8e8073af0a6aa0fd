#!/bin/sh
# What the suites' run.sh share; each sources it from its own folder, where the user was before. Exports KEYSIDE_BIN: the program
# under test as an absolute path, by default the debug build.

start=$OLDPWD
suite=${PWD##*/}

fail() {
    printf 'tests/%s: %s\n' "$suite" "$1" >&2
    exit 1
}

# Prints a path, as the user wrote it, as an absolute one.
absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$start/$1" ;;
    esac
}

# Installs the packages of the suite $1 once, and again only when a pin changes: Python's outside the checkout, one virtual
# environment ($venv) per set of pins and interpreter, and npm's next to package.json, where Node looks for them.
packages_of() {
    if [ -e "../$1/requirements.txt" ]; then
        python_packages "$1"
    fi
    if [ -e "../$1/package-lock.json" ]; then
        npm_packages "$1"
    fi
}

python_packages() {
    python=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "needs Python 3.11 or later: apt-get install python3 python3-venv"
    pins=$({ cat "../$1/requirements.txt"; "$python" -VV; } | sha256sum | cut -c1-16)
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/keyside/$1-$pins
    ../checks/install "$venv" "$python" --require-hashes --requirement "../$1/requirements.txt" \
        || fail "could not install tests/$1/requirements.txt; for virtual environments: apt-get install python3-venv"
}

npm_packages() {
    node=$(node --version 2>/dev/null || echo none)
    [ "$(printf 'v20.15\n%s\n' "$node" | sort -V | head -n 1)" = v20.15 ] || fail "needs Node.js 20.15 or later, found $node"
    command -v npm >/dev/null || fail "needs npm: apt-get install npm"
    lock=$(sha256sum <"../$1/package-lock.json" | cut -c1-16)
    if [ ! -e "../$1/node_modules/.complete-$lock" ]; then
        # Suites that share them may run at the same time.
        exec 9<"../$1/package-lock.json"
        flock 9
        if [ ! -e "../$1/node_modules/.complete-$lock" ]; then
            (cd "../$1" && npm ci --no-audit --no-fund --loglevel=error >&2)
            touch "../$1/node_modules/.complete-$lock"
        fi
        exec 9<&-
    fi
}

# Runs pytest with the packages of the suite $1.
pytest_with() {
    packages_of "$1"
    shift
    exec "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"
}

# Runs the tests in Chromium, which CHROMIUM may name.
browser_tests() {
    CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
    [ -n "$CHROMIUM" ] || fail "needs Chromium: apt-get install chromium"
    export CHROMIUM
    packages_of "$suite"
    exec node --test "$@" .
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

KEYSIDE_BIN=$(absolute "${KEYSIDE_BIN:-${CARGO_TARGET_DIR:-${PWD%/*/*}/target}/debug/keyside}")
export KEYSIDE_BIN
