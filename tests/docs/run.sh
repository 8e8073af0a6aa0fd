#!/bin/sh
# Runs the commands of the documents with the real keyside (KEYSIDE_BIN, or else the debug build): documents.toml says which, and why
# others are not run here. test_runbooks.py brings about the state that each alert is about. Arguments go to pytest: `run.sh -k expired`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

pytest_with sdk "$@"
