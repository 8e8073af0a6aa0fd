"""Installs each client, pinned, in a separate folder outside the checkout: their dependencies
conflict."""

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "environments"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyside"

#: The first Python version that a client does not support, if any.
TOO_NEW = {"aider": (3, 13)}


@cache
def programs(client: str) -> Path:
    """The folder with the client's programs, installed if a pin has changed since."""
    pins = FOLDER / client
    if (pins / "package-lock.json").is_file():
        return _installed(client, pins / "package-lock.json", "npm", lambda place: _npm(pins, place)) / "node_modules/.bin"
    python = _python(client)
    return _installed(client, pins / "requirements.txt", _version(python), lambda place: _pip(python, pins, place)) / "bin"


def pinned(client: str) -> str:
    """The files that name the client's pins, as text."""
    folder = FOLDER / client
    return "".join(file.read_text() for name in ("requirements.in", "package.json") if (file := folder / name).is_file())


def _installed(client: str, lock: Path, runtime: str, install) -> Path:
    pins = hashlib.sha256(lock.read_bytes() + runtime.encode()).hexdigest()[:16]
    place = CACHE / f"client-{client}-{pins}"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        install(place)
        (place / "complete").touch()
    return place


def _npm(pins: Path, place: Path):
    for name in ("package.json", "package-lock.json"):
        shutil.copy(pins / name, place)
    _run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=place)


def _pip(python: str, pins: Path, place: Path):
    _run(python, "-m", "venv", place)
    install = (place / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    _run(*install, "--requirement", pins / "requirements.txt", cwd=place)


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
