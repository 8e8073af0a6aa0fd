#!/bin/sh
# Builds the image around the real keyside (KEYSIDE_BIN, or else the debug build) with buildah, looks into it, and runs it,
# also with the settings of docs/examples/compose. Needs no registry: the base is made from this machine's glibc and
# certificate authorities. Needs root, to mount an image. Arguments go to unittest: `run.sh -k size`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

../checks/need buildah strip
folder=$(mktemp -d)
trap 'as_root rm -rf "$folder"' EXIT
../../.ci/rootfs "$KEYSIDE_BIN" "$folder/rootfs"
as_root env "KEYSIDE_BIN=$KEYSIDE_BIN" "KEYSIDE_ROOTFS=$folder/rootfs" python3 -B -m unittest discover "$@"
