#!/usr/bin/env bash
# Judges docs/examples/systemd with systemd's own tools, and starts what the unit starts, with the real keyside (KEYSIDE_BIN, or
# else the debug build). Needs root, to start it as another user; systemd itself does not have to run. Arguments go to unittest.
set -euo pipefail

binary=$(realpath "${KEYSIDE_BIN:-$(dirname "${BASH_SOURCE[0]}")/../../target/debug/keyside}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/checks/need systemd-analyze strace

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
"${as_root[@]}" env "KEYSIDE_BIN=$binary" PYTHONPATH=tests/image \
    python3 -B -m unittest discover --start-directory tests/systemd "$@"
