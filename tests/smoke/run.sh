#!/bin/sh
# Runs provider_smoke.py, the script of .github/workflows/provider-smoke.yml, as a runner of GitHub does, with the real keyside
# (KEYSIDE_BIN, or else the debug build) and stand-ins of the providers. Arguments go to pytest: `run.sh -k funds`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with sdk "$@"
