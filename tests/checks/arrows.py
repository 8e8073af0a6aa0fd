#!/usr/bin/env python3
"""Which crate may depend on which: the arrows in ARCHITECTURE.md, checked against what Cargo
resolved.

Two rules. A workspace crate depends only on the workspace crates below it, in every kind of
dependency (normal, build, dev). And some outside crates must not be reachable from some of ours,
directly or indirectly: the security perimeter must be readable without knowledge of an HTTP server.

Exit code 0 if both hold, 1 with one line for each arrow that is not allowed.
"""

import json
import subprocess
import sys

from report import report

# crate -> workspace crates that it may depend on. A crate that is missing here is not allowed in
# the workspace.
ALLOWED = {
    "keyside": {"keyside-proxy", "keyside-admin", "keyside-vault", "keyside-sled", "keyside-credentials", "keyside-config"},
    "keyside-proxy": {"keyside-credentials", "keyside-store", "keyside-config"},
    "keyside-admin": {"keyside-credentials", "keyside-store", "keyside-config"},
    "keyside-vault": {"keyside-credentials", "keyside-config"},
    # The driver is for its tests, which also use a real store.
    "keyside-credentials": {"keyside-store", "keyside-sled", "keyside-config"},
    "keyside-sled": {"keyside-store"},
    "keyside-store": set(),
    "keyside-config": set(),
    "keyside-bench": set(),
}

# crate -> outside crates that may not be reachable from it through normal and build dependencies.
HTTP_STACK = {"axum", "axum-core", "hyper", "hyper-util", "hyper-rustls", "h2", "pingora-core", "pingora-proxy", "tower", "tower-http"}
UNREACHABLE = {
    "keyside-config": HTTP_STACK | {"tokio", "sled"},
    "keyside-store": HTTP_STACK | {"sled"},
    "keyside-sled": HTTP_STACK,
    "keyside-credentials": HTTP_STACK | {"sled"},
    "keyside-admin": {"pingora-core", "pingora-proxy", "sled"},
    "keyside-proxy": {"axum", "axum-core", "pingora-proxy", "sled"},
    "keyside-vault": {"axum", "axum-core", "pingora-core", "pingora-proxy"},
    "keyside": {"pingora-proxy", "aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"},
}

# crate -> outside crates that it may reach indirectly but not depend on itself: storage is behind
# the perimeter.
UNNAMED = {
    "keyside": {"sled", "chacha20poly1305", "hkdf"},
    "keyside-proxy": {"sled", "chacha20poly1305", "hkdf"},
    "keyside-vault": {"sled", "chacha20poly1305", "hkdf"},
    "keyside-admin": {"sled", "chacha20poly1305", "hkdf", "hyper", "hyper-util"},
}


def violations(metadata):
    """Every arrow in `cargo metadata`'s output that is not allowed, as sentences."""
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    members = {names[member] for member in metadata["workspace_members"]}
    found = [f"{name} is in the workspace but not in tests/checks/arrows.py" for name in sorted(members - set(ALLOWED))]
    found += named_violations(metadata, members)
    found += reach_violations(metadata["resolve"]["nodes"], names)
    return found


def named_violations(metadata, members):
    for package in metadata["packages"]:
        name = package["name"]
        if name not in members or name not in ALLOWED:
            continue
        for dependency in package["dependencies"]:
            target, kind = dependency["name"], dependency["kind"] or "normal"
            if target in members and target not in ALLOWED[name]:
                yield f"{name} -> {target} ({kind}): not an allowed arrow"
            if kind == "normal" and target in UNNAMED.get(name, ()):
                yield f"{name} -> {target}: only credentials may name it"


def reach_violations(nodes, names):
    below = {
        node["id"]: [
            dep["pkg"]
            for dep in node["deps"]
            if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])
        ]
        for node in nodes
    }
    for start in below:
        for banned, path in reached(start, below, names, UNREACHABLE.get(names[start], ())):
            yield f"{names[start]} reaches {banned}: {' -> '.join(path)}"


def reached(start, below, names, banned):
    """Depth-first from `start`; each banned crate once, with the path that leads to it."""
    seen, stack = {start}, [(start, (names[start],))]
    while stack:
        here, path = stack.pop()
        for next_id in below.get(here, ()):
            if next_id in seen:
                continue
            seen.add(next_id)
            next_path = (*path, names[next_id])
            if names[next_id] in banned:
                yield names[next_id], next_path
            stack.append((next_id, next_path))


def cargo_metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    sys.exit(report("arrows", violations(cargo_metadata()), f"{len(ALLOWED)} crates"))
