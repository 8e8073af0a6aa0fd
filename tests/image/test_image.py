"""The image that the Containerfile describes."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

import images
from engine import Engine

USER = 65532
DATA = "/var/lib/keyside"
# Megabytes, of the default base: gcr.io/distroless/base-nossl-debian12. The base made here is smaller.
DISTROLESS = 15
LIMIT = 40
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "env", "perl", "python3"}
#: What Docker adds to a container.
DOCKERS = {".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}


@pytest.fixture(scope="session")
def config(engine: Engine, image: str) -> dict:
    return engine.inspect(image)["Config"]


@pytest.fixture(scope="session")
def files(engine: Engine, image: str, tmp_path_factory) -> Path:
    """The image's files, with their owners and modes."""
    folder = tmp_path_factory.mktemp("files")
    container = engine.run("docker", "create", image)
    packed = engine.call("docker", "export", container).stdout
    docker = [f"--exclude=./{path}" for path in DOCKERS] + [f"--exclude={path}" for path in DOCKERS]
    subprocess.run(["tar", "--anchored", *docker, "-C", folder, "-x"], input=packed, check=True)
    return folder


def _paths(files: Path) -> list[Path]:
    return [path for path in files.rglob("*") if not path.is_symlink()]


def it_starts_keyside_as_a_user_without_rights(config):
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/usr/bin/keyside"]
    assert config["Cmd"] == ["serve"]
    assert config["WorkingDir"] == DATA
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/keyside", "healthcheck"]
    assert not config.get("ExposedPorts")


def its_labels_say_what_it_is(config):
    labels = config["Labels"]
    for name, value in images.LABELS.items():
        assert labels[f"org.opencontainers.image.{name.lower()}"] == value
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "keyside/keyside" in labels["org.opencontainers.image.source"]


def it_has_no_shell_and_no_program_but_keyside(files):
    assert {path.name for path in _paths(files)} & SHELLS == set()
    programs = [
        path.relative_to(files).as_posix()
        for path in _paths(files)
        if path.is_file() and path.stat().st_mode & 0o111 and ".so" not in path.name
    ]
    assert programs == ["usr/bin/keyside"]


def its_user_can_write_to_the_data_folder_alone(files):
    def may_write(path):
        told = path.stat()
        return told.st_uid == USER or told.st_gid == USER or told.st_mode & stat.S_IWOTH

    writable = {"/" + path.relative_to(files).as_posix() for path in _paths(files) if may_write(path)}
    assert writable - {"/tmp"} == {DATA}
    assert stat.S_IMODE((files / DATA.lstrip("/")).stat().st_mode) == 0o700
    assert [path for path in _paths(files) if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []


def its_size_is_within_the_limit(engine, image, files):
    added = engine.inspect(image)["Size"] - engine.inspect(images.PARTS["BASE"])["Size"]
    binary = (files / "usr/bin/keyside").stat().st_size
    assert added - binary < 1e6, "beside the binary: a library, the licence, the bill of materials"
    # A debug build is several times as large as the binary that ships.
    if images.BINARY.parent.name in ("release", "dist"):
        assert added / 1e6 + DISTROLESS <= LIMIT


def its_bill_of_materials_names_what_is_linked(files):
    document = json.loads((files / "usr/share/doc/keyside/keyside.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["name"] == "keyside"
    components = document["components"]
    names = {one["name"] for one in components}
    assert {"keyside-proxy", "pingora-core", "rustls", "ring", "sled"} <= names
    assert not {"rcgen", "proptest", "serde_derive", "windows-sys", "keyside-bench"} & names
    for one in components:
        assert one["licenses"], one
        assert one["name"].startswith("keyside") or len(bytes.fromhex(one["hashes"][0]["content"])) == 32
    known = {one["bom-ref"] for one in components} | {document["metadata"]["component"]["bom-ref"]}
    for one in document["dependencies"]:
        assert {one["ref"], *one["dependsOn"]} <= known


@pytest.mark.parametrize("options, code", [((), 0), (("--volume", f"/dev/null:/{images.CERTIFICATES}:ro"), 78)])
def it_finds_the_certificate_authorities(engine, image, options, code):
    assert engine.call("docker", "run", "--rm", *options, image, "check").returncode == code


def its_health_check_fails_where_nothing_serves(engine, image):
    assert engine.call("docker", "run", "--rm", image, "healthcheck").returncode == 1


def it_warns_that_keys_could_be_swapped_out(engine, image):
    container = engine.run("docker", "run", "--detach", "--rm", "--cap-drop", "ALL", "--ulimit", "memlock=0:0", image)
    engine.settle()
    assert engine.call("docker", "logs", container).stderr.count(b"could be swapped out") == 1
    engine.run("docker", "stop", container)
