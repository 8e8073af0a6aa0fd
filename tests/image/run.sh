#!/usr/bin/env bash
# Builds the image around the real keyside (KEYSIDE_BIN, or else the debug build) with buildah, looks into it, and runs it,
# also with the settings of docs/examples/compose. Needs no registry: the base is made from this machine's glibc and
# certificate authorities. Needs root, to mount an image. Arguments go to unittest: `run.sh -k size`.
set -euo pipefail

binary=$(realpath "${KEYSIDE_BIN:-$(dirname "${BASH_SOURCE[0]}")/../../target/debug/keyside}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/checks/need buildah strip

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
folder=$(mktemp -d)
trap '"${as_root[@]}" rm -rf "$folder"' EXIT
.ci/rootfs "$binary" "$folder/rootfs"
"${as_root[@]}" env "KEYSIDE_BIN=$binary" "KEYSIDE_ROOTFS=$folder/rootfs" \
    python3 -B -m unittest discover --start-directory tests/image "$@"
