#!/bin/sh
# Runs the recipes in config/recipes/ with the real clients against the real keyside, named by KEYSIDE_BIN or else the debug
# build. The first test that needs a client installs it into a cache outside the checkout; it is installed again only when a pin
# changes. Arguments go to pytest: `run.sh -m quick`, `run.sh -k langchain`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with sdk "$@"
