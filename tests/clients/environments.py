"""Installs each client, pinned, in a separate folder outside the checkout: their dependencies
conflict. As a program, installs all of them."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "environments"
INSTALL = Path(__file__).parents[1] / "checks/install"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyside"

#: The first Python version that a client does not support, if any.
TOO_NEW = {"aider": (3, 13)}


@cache
def programs(client: str) -> Path:
    """The folder with the client's programs, installed if a pin has changed since."""
    pins = FOLDER / client
    if (pins / "package-lock.json").is_file():
        place = _place(client, pins / "package-lock.json", "npm")
        _npm(pins, place)
        return place / "node_modules/.bin"
    python = _python(client)
    place = _place(client, pins / "requirements.txt", _version(python))
    # Compiled when it is imported: most of what a client brings is not.
    options = ("--no-compile-bytecode", "--require-hashes", "--requirement", pins / "requirements.txt")
    _run(INSTALL, place, python, *options)
    return place / "bin"


def pinned(client: str) -> str:
    """The files that name the client's pins, as text."""
    folder = FOLDER / client
    return "".join(file.read_text() for name in ("requirements.in", "package.json") if (file := folder / name).is_file())


def _place(client: str, lock: Path, runtime: str) -> Path:
    pins = hashlib.sha256(lock.read_bytes() + runtime.encode()).hexdigest()[:16]
    return CACHE / f"client-{client}-{pins}"


def _npm(pins: Path, place: Path):
    CACHE.mkdir(parents=True, exist_ok=True)
    # Suites that need it may run at the same time.
    with place.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if (place / "complete").exists():
            return
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(pins / name, place)
        _run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=place)
        (place / "complete").touch()


def _run(*command, cwd: Path | None = None):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}"


def _python(client: str) -> str:
    limit = TOO_NEW.get(client, (4, 0))
    if sys.version_info < limit:
        return sys.executable
    for minor in range(limit[1] - 1, 10, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    pytest.skip(f"{client} needs a Python before {limit[0]}.{limit[1]}")


def _version(python: str) -> str:
    return subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for folder in sorted(FOLDER.iterdir()):
        with contextlib.suppress(pytest.skip.Exception):
            programs(folder.name)
