#!/usr/bin/env bash
# Builds the image around the real keyside (KEYSIDE_BIN, or else the debug build) with buildah, looks into it, and runs it.
# Needs no registry: the base is made from this machine's glibc and certificate authorities. Arguments go to unittest:
# `run.sh -k size`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/checks/need buildah strip
export KEYSIDE_BIN
KEYSIDE_BIN=$(realpath "${KEYSIDE_BIN:-target/debug/keyside}")

unshare=()
# Mounting an image needs root, in a user namespace at least.
[[ $(id -u) -eq 0 ]] || unshare=(buildah unshare)
exec "${unshare[@]}" python3 -B -m unittest discover --start-directory tests/image --pattern 'test_*.py' "$@"
