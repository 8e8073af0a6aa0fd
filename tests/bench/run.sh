#!/bin/sh
# Builds Keyside and the benchmark, then compares Keyside with nginx. Arguments go to `keyside-bench run`;
# `run.sh start` measures the start time instead, `run.sh lists` the admin API's lists of many keys and the page of keys,
# `run.sh revoke` how long a revoked key is still used, `run.sh build` the first build. `run.sh --declared` compares a sidecar's
# declared key with the store.
set -eu
cd "$(dirname "$0")/../.."

if [ "${1:-}" = build ]; then
    exec tests/bench/build.sh
fi

if ! [ -x /usr/sbin/nginx ]; then
    tests/checks/need nginx
    # The package starts an unneeded server on port 80.
    if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then
        systemctl disable --now nginx
    fi
fi

cargo build --locked --profile dist --bin keyside
cargo build --locked --release -p keyside-bench
target=${CARGO_TARGET_DIR:-target}

# Each stream needs a descriptor at both of its ends in this process, and the load opens 1,000.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -H -n)"

command=run
case ${1:-} in
    start | lists | revoke)
        command=$1
        shift
        ;;
esac

# The process under test has core 0 to itself; upstream and load share core 1.
exec taskset -c 1 "$target/release/keyside-bench" "$command" --keyside "$target/dist/keyside" "$@"
