import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import images
from engine import Engine
from guide import commands
from machine import SHARED, Machine
from provider import Provider
from repository import ROOT
from shell import KEY, Shell

#: Where a container reaches the provider. Not loopback, which is the container's own.
ADDRESS = "10.200.0.1"


@pytest.fixture(scope="session")
def engine(tmp_path_factory) -> Iterator[Engine]:
    """The engine, with the images that the page takes from registries."""
    with _or_skipped("Docker's engine"):
        engine = Engine()
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ADDRESS).configure_cert(tls)
    provider = Provider(ADDRESS, tls)
    provider.good.add(KEY)
    base, curl = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("curl")
    images.base(base, authority.cert_pem.bytes().decode())
    images.program("/usr/bin/curl", curl)
    engine.image_of(images.PARTS["BASE"], base, f"ENV KEYSIDE_PROVIDERS__OPENAI__BASE_URL={provider.url}")
    engine.image_of(images.PARTS["BINARY"], Path(os.environ["KEYSIDE_ROOTFS"]).parent)
    engine.image_of(images.CURL, curl, 'ENTRYPOINT ["/usr/bin/curl"]')
    yield engine
    engine.stop()
    provider.stop()


@pytest.fixture(scope="session")
def person(engine: Engine, tmp_path_factory) -> Shell:
    """Follows the page in a clone of the checkout; what is written to it is dropped."""
    over = tmp_path_factory.mktemp("checkout")
    for name in ("upper", "work", "clone", "bin"):
        (over / name).mkdir()
    layers = f"lowerdir={ROOT},upperdir={over}/upper,workdir={over}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, over / "clone"], check=True)
    (over / "clone/openai-key").write_text(KEY)
    (over / "bin/keyside").symlink_to(images.BINARY)
    (over / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (over / "bin/sudo").chmod(0o755)
    (over / ".gitconfig").write_text("[safe]\n  directory = *\n")
    ours = {
        "PATH": f"{over}/bin:{engine.environment['PATH']}",
        "HOME": str(over),
        "TERM": "dumb",
        # Of `make image`.
        "ARGS": f"--pull-never {images.arguments(images.PARTS)}",
    }
    return Shell(over / "clone", engine.environment | ours)


@pytest.fixture(scope="session")
def image(engine: Engine, person: Shell) -> str:
    """The image that the page's commands build, with buildah and then with Docker."""
    for part in images.PARTS.values():
        engine.run("buildah", "pull", "--quiet", f"docker-daemon:{part}:latest")
    with_buildah, with_docker = commands("The image")[0]
    person.run(with_buildah)
    engine.run("buildah", "push", "--quiet", images.NAME, f"docker-daemon:{images.NAME}")
    revision = engine.inspect(images.NAME)["Config"]["Labels"]["org.opencontainers.image.revision"]
    assert revision == person.run("git rev-parse HEAD").strip()
    assert with_docker.startswith("docker build ")
    person.run(with_docker.replace(" build ", f" build {images.arguments(images.PARTS | images.LABELS)} ", 1))
    return images.NAME


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with the folder that the page describes: the unit's, with the binary."""
    shutil.copytree(ROOT / "docs/examples/systemd", SHARED)
    shutil.copy(images.BINARY, SHARED / "keyside")
    (SHARED / "openai-key").write_text(KEY)
    with _or_skipped("systemd"):
        machine = Machine()
    yield machine
    machine.stop()


@contextlib.contextmanager
def _or_skipped(what: str) -> Iterator[None]:
    """Skips the test where `what` does not start, and says so on the terminal, past pytest's capture."""
    try:
        yield
    except AssertionError as error:
        why = f"{what} does not start on this machine: {str(error).splitlines()[-1]}"
        print(f"\n*** NOT SHOWN HERE: docs/DEPLOY.md. {why} ***", file=sys.__stderr__, flush=True)
        pytest.skip(why)
