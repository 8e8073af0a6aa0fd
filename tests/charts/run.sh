#!/bin/sh
# Renders charts/keyside with Helm, validates every object, and starts the real keyside (KEYSIDE_BIN, or else the debug build) with the
# command lines and settings that the chart renders. Installs packages once, and again only when a pin changes. Arguments go to pytest:
# `run.sh -k sidecar`; `run.sh --write` accepts the rendered objects as the new snapshots.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with charts "$@"
