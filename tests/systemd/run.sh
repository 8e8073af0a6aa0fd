#!/bin/sh
# Judges docs/examples/systemd with systemd's own tools, and starts what the unit starts, with the real keyside (KEYSIDE_BIN, or
# else the debug build). Needs root, to start it as another user; systemd itself does not have to run. Arguments go to unittest.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

../checks/need systemd-analyze strace
as_root env "KEYSIDE_BIN=$KEYSIDE_BIN" PYTHONPATH=../image python3 -B -m unittest discover "$@"
