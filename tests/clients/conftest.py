"""Fixtures: a fake of each provider, the real keyside in front of them, and an empty home for each
client."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.canary import canary
from harness.keyside import Keyside, binary
from recipes import NO_PROXY, Filled
from upstream import Upstream

PREFIXES = {"openai": "sk-proj-", "anthropic": "sk-ant-api03-", "gemini": "AIza", "bedrock": "ABSK"}

#: Workspaces: one with a key of each provider, one without keys, and one that does not exist.
GOOD, EMPTY, UNKNOWN = "acme", "empty", "nobody"

ANSWER = "One, two, three, as the stand-in counts."
TOOL_ANSWER = "The tool reports snow."


@dataclass(frozen=True)
class Refusal:
    """A mistake in a base URL, and what Keyside's response must say."""

    code: str
    path: str
    """The part after the address, with a placeholder for the provider's id."""
    text: str

    def base(self, address: str) -> Callable[[str], str]:
        return lambda provider: f"{address}{self.path.format(provider=provider)}"


REFUSALS = (
    Refusal("workspace_missing", "/{provider}", "names no workspace"),
    Refusal("workspace_unknown", f"/w/{UNKNOWN}/{{provider}}", "There is no workspace"),
    Refusal("credential_missing", f"/w/{EMPTY}/{{provider}}", f"keyside key add -w {EMPTY}"),
    Refusal("path_not_allowed", f"/w/{GOOD}/{{provider}}/nowhere", "Keyside does not forward"),
)


@dataclass(frozen=True)
class Stage:
    """Everything that runs for the suite."""

    upstreams: dict[str, Upstream]
    keyside: Keyside

    def assert_only_the_real_key_arrived(self, *providers: str):
        """These providers (by default: any) received requests, always with the workspace's key and
        no other credential."""
        for provider in providers or self._asked():
            upstream = self.upstreams[provider]
            assert {seen.credentials for seen in upstream.seen} == {(upstream.key,)}, (provider, upstream.seen)
        assert self._asked()

    def assert_nothing_arrived(self):
        assert self._asked() == []

    def _asked(self) -> list[str]:
        return [provider for provider, upstream in self.upstreams.items() if upstream.seen]


@dataclass
class Home:
    """An empty home folder, and the environment of a client that runs there, without the
    developer's own variables."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def set_up(self, filled: Filled):
        for name in filled.unset:
            self.variables.pop(name, None)
        self.variables |= filled.variables
        for path, text in filled.files.items():
            file = self.folder / path.removeprefix("~/") if path.startswith("~/") else self.work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def run(self, *argv: str | Path, programs: Path, given: str = "", within: float = 300) -> subprocess.CompletedProcess:
        """Runs a client until it exits; its programs, and the system's, are on the path."""
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            argv,
            env={"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8", **self.variables},
            cwd=self.work,
            input=given,
            capture_output=True,
            text=True,
            timeout=within,
        )


@pytest.fixture(scope="session")
def _running(tmp_path_factory) -> Iterator[Stage]:
    upstreams: dict[str, Upstream] = {}
    keyside = None
    try:
        for id, prefix in PREFIXES.items():
            upstreams[id] = Upstream(canary(prefix))
        folder = tmp_path_factory.mktemp("keyside")
        keyside = Keyside(binary(), folder, {id: upstream.url for id, upstream in upstreams.items()})
        for workspace in (GOOD, EMPTY):
            keyside.add_workspace(workspace)
        for id, upstream in upstreams.items():
            keyside.add_key(GOOD, id, upstream.key)
        yield Stage(upstreams, keyside)
    finally:
        for running in (keyside, *upstreams.values()):
            if running:
                running.stop()


@pytest.fixture
def stage(_running) -> Stage:
    """The fixtures, with providers that have received no request yet."""
    for upstream in _running.upstreams.values():
        upstream.seen.clear()
    return _running


@pytest.fixture
def home(tmp_path) -> Home:
    home = Home(tmp_path / "home")
    home.work.mkdir(parents=True)
    return home


@pytest.fixture
def corporate_proxy() -> Iterator[dict[str, str]]:
    """The variables for a proxy that refuses connections, and a recipe's lines that exempt
    loopback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # reserved and not listening, so each connection is refused
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        yield dict.fromkeys(names, address) | NO_PROXY
