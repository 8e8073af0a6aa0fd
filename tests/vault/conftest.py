"""Fixtures: one OpenBao for most tests, a mount and a policy for each, a provider, and sidecars
whose output is searched."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import logins
from bao import Bao, Tls, new_authority, unique
from canaries import secrets_in
from harness.canary import canary
from issuers import Kubernetes, Signer
from logins import Issuers, Login
from provider import Provider
from sidecar import Settings, Sidecar, commands, declared
from slow import Slow

pytest_plugins = ["harness.skipped"]


@pytest.fixture(scope="session", autouse=True)
def a_clean_environment():
    """Removes the developer's own variables that would name a Vault or send loopback requests to a
    proxy."""
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_", "KMS_", "KEYSIDE_")) and name != "KEYSIDE_BIN":
            del os.environ[name]
        elif name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session")
def tls(tmp_path_factory) -> Tls:
    return new_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def issuers(tls) -> Iterator[Issuers]:
    kubernetes = Kubernetes(tls)
    yield Issuers(kubernetes, Signer())
    kubernetes.stop()


@pytest.fixture(scope="session")
def bao(tmp_path_factory, tls, issuers) -> Iterator[Bao]:
    """The OpenBao for tests that do not disturb it."""
    running = _start(tmp_path_factory.mktemp("bao") / "server", tls, issuers)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def _mortal(tmp_path_factory, tls, issuers) -> Iterator[Bao]:
    running = _start(tmp_path_factory.mktemp("mortal") / "server", tls, issuers)
    yield running
    running.stop()


@pytest.fixture
def mortal_bao(_mortal) -> Iterator[Bao]:
    """An OpenBao that tests may kill and seal; it runs again for the next test."""
    yield _mortal
    _mortal.up_again()


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.stop()


@dataclass
class Corner:
    """One test's part of OpenBao: a mount for its keys, and a policy that lets a sidecar read them.
    """

    bao: Bao
    folder: Path
    issuers: Issuers
    canaries: list[str]
    version: int = 2
    mount: str = field(default_factory=lambda: f"{unique('teams')}/kv")
    policy: str = field(default_factory=lambda: unique("sidecar"))

    def __post_init__(self):
        self._begun = len(self.bao.audited())
        self.bao.mount(self.mount, "kv", version=str(self.version))
        self.allow("*")

    def allow(self, *paths: str):
        """Lets a sidecar read only these paths of the mount."""
        kinds = ("data/", "metadata/") if self.version == 2 else ("",)
        allowed = [f"{self.mount}/{kind}{path}" for kind in kinds for path in paths]
        rules = [f'path "{path}" {{ capabilities = ["read"] }}\n' for path in allowed]
        # An empty policy is refused, and an administrator would write one that denies.
        self.bao.write_policy(self.policy, "".join(rules) or f'path "{self.mount}/*" {{ capabilities = ["deny"] }}')

    def new_key(self, path: str = "acme/openai", **others: str) -> str:
        """Writes and returns a unique key; `others` are further fields of the secret."""
        return self.write_key(canary("sk-proj-"), path, **others)

    def write_key(self, key: str, path: str = "acme/openai", **others: str) -> str:
        self.canaries.append(key)
        fields = {"api_key": key, **others}
        if self.version == 2:
            self.bao.ask("POST", f"{self.mount}/data/{path}", {"data": fields})
        else:
            self.bao.ask("PUT", f"{self.mount}/{path}", fields)
        return key

    def source(self, path: str = "acme/openai", field: str = "api_key") -> str:
        return f"vault:{self.mount}/{path}#{field}"

    def audited(self, refused: bool = False) -> list[str]:
        """The paths requested from OpenBao since the test began, except by the suite, which is
        root; with `refused`, only refused requests."""
        type = "response" if refused else "request"
        since = [entry for entry in self.bao.audited()[self._begun :] if entry["type"] == type and not _by_root(entry)]
        return [entry["request"]["path"] for entry in since if not refused or entry.get("error")]

    def login(self, way: str = "approle", **role) -> Login:
        login = logins.WAYS[way](self.bao, self.issuers, self.folder, self.policy, **role)
        self.canaries += login.secrets
        return login


@pytest.fixture
def canaries() -> list[str]:
    """The secrets of this test: Keyside must not write any of them."""
    return []


@pytest.fixture
def folder(tmp_path) -> Path:
    """A sidecar's working folder, with the files that it reads."""
    return tmp_path


@pytest.fixture
def corner(bao, folder, issuers, canaries) -> Corner:
    return Corner(bao, folder, issuers, canaries)


@pytest.fixture
def mortal_corner(mortal_bao, folder, issuers, canaries) -> Corner:
    return Corner(mortal_bao, folder, issuers, canaries)


@pytest.fixture
def before_bao(bao) -> Iterator[Slow]:
    """A proxy in front of OpenBao that simulates faults."""
    slow = Slow(bao)
    yield slow
    slow.stop()


@pytest.fixture
def start(folder, provider, canaries) -> Iterator[Callable[..., Sidecar]]:
    """Starts sidecars. After the test, searches all their output for the test's secrets."""
    running: list[Sidecar] = []

    def start(credentials: list[Settings] | str, vault: Settings | Login | None = None, **more) -> Sidecar:
        """`credentials` are tables, or the source of the only one."""
        tables = [declared(credentials)] if isinstance(credentials, str) else credentials
        settings = vault.settings if isinstance(vault, Login) else vault
        sidecar = Sidecar(folder, provider.url, tables, settings, **more)
        running.append(sidecar)
        return sidecar

    yield start
    try:
        for sidecar in running:
            _assert_nothing_leaked(sidecar, canaries)
    finally:
        # One that goes on would poll the secrets that the next tests count requests for.
        for sidecar in running:
            sidecar.stop()


def _assert_nothing_leaked(sidecar: Sidecar, canaries: list[str]):
    written = {}
    if sidecar.readiness()[0] is not None:
        written = {"/readyz": sidecar.readiness()[1], "/metrics": sidecar.metrics()}
    for name in {"check", "doctor"} & commands():
        done = sidecar.command(name)
        written[name] = done.stdout + done.stderr
    sidecar.stop()
    written["log"] = sidecar.log()
    found = [f"{secret} in {name}" for name, text in written.items() for secret in secrets_in(text, canaries)]
    assert found == []


def _by_root(entry: dict) -> bool:
    return entry.get("auth", {}).get("display_name") == "root"


def _start(folder: Path, tls: Tls, issuers: Issuers) -> Bao:
    running = Bao(folder, tls)
    logins.enable_all(running, issuers)
    return running
