#!/bin/sh
# Builds what is measured and what measures, then compares Keyside with nginx. Arguments go to `keyside-bench run`;
# `run.sh start` measures how fast Keyside starts instead, `run.sh lists` how fast the admin API lists many keys,
# `run.sh revoke` how soon a key is used no more. `run.sh --declared` compares a sidecar's declared key with the store.
set -eu
cd "$(dirname "$0")/../.."

if ! [ -x /usr/sbin/nginx ]; then
    tests/checks/need nginx
    # The package starts a server of its own on port 80; nothing here wants it.
    if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then
        systemctl disable --now nginx
    fi
fi

cargo build --locked --profile dist --bin keyside
cargo build --locked --release -p keyside-bench
target=${CARGO_TARGET_DIR:-target}

# A stream takes a descriptor at each of its two ends here, and the load opens 1,000 of them.
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
