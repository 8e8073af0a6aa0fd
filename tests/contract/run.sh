#!/bin/sh
# Checks each provider's contract through the real keyside (KEYSIDE_BIN, or else the debug build): against aimock, or against the
# providers themselves with KEYSIDE_CONTRACT_LIVE=1. Arguments go to pytest: `run.sh -k gemini`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

packages_of sdk
set -- "$venv/bin/python" -B -m pytest -p no:cacheprovider -q "$@"

# Against aimock, a network namespace with loopback alone, where the system can make one: nothing can leave it.
if [ "${KEYSIDE_CONTRACT_LIVE:-}" != 1 ] && unshare --map-root-user --net ip link set lo up 2>/dev/null; then
    # shellcheck disable=SC2016 # the inner shell expands it
    exec unshare --map-root-user --net sh -c 'ip link set lo up && KEYSIDE_CONTRACT_ISOLATED=1 exec "$@"' sh "$@"
fi
exec "$@"
