#!/bin/sh
# Judges docs/examples/systemd with systemd's own tools, around the real keyside (KEYSIDE_BIN, or else the debug build); systemd itself does
# not have to run. Arguments go to unittest.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

../checks/need systemd-analyze
exec python3 -B -m unittest discover "$@"
