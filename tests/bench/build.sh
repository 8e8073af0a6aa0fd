#!/bin/sh
# How long the first build of `make run` takes: a cold target folder, and sources that are already downloaded. It uses every core, so
# nothing else should run. Prints the seconds and the ten crates that took longest.
set -eu
cd "$(dirname "$0")/../.."

cargo fetch --locked
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT INT TERM

began=$(date +%s)
CARGO_TARGET_DIR=$target cargo build --profile quick --locked --bin keyside --timings
ended=$(date +%s)

printf 'first build: %s s with %s cores\n' $((ended - began)) "$(nproc)"
python3 - "$target"/cargo-timings/cargo-timing.html <<'EOF'
import json, re, sys

units = json.loads(re.search(r"const UNIT_DATA = (\[.*?\]);", open(sys.argv[1], encoding="utf-8").read(), re.S)[1])
for unit in sorted(units, key=lambda unit: -unit["duration"])[:10]:
    print(f"{unit['duration']:7.1f} s  {unit['name']} {unit['target'].strip()}")
EOF
