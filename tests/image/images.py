"""What the images of the suite are made of: files of this machine."""

import os
import shutil
import subprocess
from pathlib import Path

BINARY = Path(os.environ["KEYSIDE_BIN"])
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
#: The image that the page builds, from images that need no registry, with these labels.
NAME = "localhost/keyside:dev"
PARTS = {"BINARY": "localhost/binary", "BASE": "localhost/base"}
LABELS = {"VERSION": "1.2.3", "REVISION": "0123456", "CREATED": "2026-11-29T12:00:00Z"}
CURL = "docker.io/curlimages/curl:8.16.0"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def arguments(values: dict[str, str]) -> str:
    """Build arguments for a command line."""
    return " ".join(f"--build-arg {name}={value}" for name, value in values.items())


def base(folder: Path, authority: str):
    """What a base image has to have: a loader, the C library, users, certificate authorities, and `authority` besides."""
    # Keyside brings libgcc along.
    for library in (one for one in _libraries(BINARY) if "libgcc_s" not in one):
        _put(library, folder)
    _put(f"/{CERTIFICATES}", folder)
    with (folder / CERTIFICATES).open("a") as certificates:
        certificates.write(authority)
    (folder / "etc/passwd").write_text(PASSWD)
    _temporary(folder)


def program(path: str, folder: Path):
    """A program with its libraries."""
    for file in [path, *_libraries(path)]:
        _put(file, folder)
    _temporary(folder)


def _libraries(program: str | Path) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for line in said.splitlines() for word in line.split() if word.startswith("/")]


def _put(source: str, folder: Path):
    target = folder / source.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(source).resolve(), target)


def _temporary(folder: Path):
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
