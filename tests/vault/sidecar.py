"""`keyside proxy`: how the suite configures and starts it and sends requests."""

import functools
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.child import Child
from harness.keyside import binary
from harness.ports import free_port
from harness.serving import ready
from harness.web import PATIENCE, eventually, fetch

#: `vault.poll` in the tests, in seconds: the least that the settings accept.
POLL = 1
POLL_SETTING = f"{POLL}s"
#: Seconds until a change is in use: a poll and a second. The rest is for busy machines: test_economy.py
#: compares the time between two polls with the setting.
SOON = POLL + PATIENCE
#: How many seconds a state must last: a few polls.
A_WHILE = 3 * POLL

#: `vault.timeout`, and the least time of a request that waits for Vault. A request that takes less
#: did not wait; the bound is far above a normal request's time, for busy machines.
TIMEOUT_SETTING = "5s"
AT_ONCE = 3.0

#: How many requests are a load.
ENOUGH = 20

#: Refusals for a key that is gone or that Keyside may no longer read.
GONE = {("credential_missing", 401), ("credential_revoked", 401), ("store_unavailable", 503)}
#: Refusals while the key is unknown, or was not confirmed for too long.
UNKNOWN = {("store_unavailable", 503)}

#: Makes the process that follows obey file permissions even as root.
ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []

Settings = dict[str, object]


def declared(source: str, workspace: str = "acme", **more: str) -> Settings:
    """One `[[credential]]` table."""
    return {
        "workspace": workspace,
        "provider": "openai",
        "label": "main",
        "environment": "live",
        "source": source,
        **more,
    }


@dataclass(frozen=True)
class Answer:
    """The runner's response, and how long it took, in seconds."""

    status: int
    code: str | None
    message: str
    seconds: float

    @property
    def refusal(self) -> tuple[str | None, int]:
        return self.code, self.status


class Sidecar:
    """A running `keyside proxy` without a store. `folder` is its working directory."""

    def __init__(
        self,
        folder: Path,
        provider: str,
        credentials: list[Settings],
        vault: Settings | None = None,
        *,
        environment: dict[str, str] | None = None,
        ordinary: bool = False,
    ):
        """`environment` is added to the process's; an `ordinary` process obeys file permissions
        even as root."""
        self.folder = folder
        # Fixed ports: tests send requests to a sidecar that waits for Vault before it logs `ready`.
        self._proxy, self._observe = free_port(), free_port()
        self.environment = {"PATH": os.environ["PATH"], **(environment or {})}
        listeners = (f"127.0.0.1:{self._proxy}", f"127.0.0.1:{self._observe}")
        self.settings = write_settings(folder, provider, credentials, vault, listeners)
        argv = [binary(), "proxy", "--config", self.settings]
        if ordinary:
            argv = [*ORDINARY, *argv]
        self._child = Child(argv, env=self.environment, cwd=folder)

    # Its own endpoints

    def readiness(self) -> tuple[int | None, str]:
        """Status and lines of `/readyz`; None while the port is closed."""
        try:
            status, body = fetch(f"http://127.0.0.1:{self._observe}/readyz")
        except OSError:
            return None, ""
        return status, body.decode()

    def becomes_ready(self, within: float = PATIENCE) -> "Sidecar":
        assert eventually(lambda: self.readiness()[0] == 200, within), (self.readiness(), self.log()[-4000:])
        return self

    def is_up(self, within: float = PATIENCE) -> "Sidecar":
        """Responds on the observe listener, ready or not."""
        assert eventually(lambda: self.readiness()[0] is not None, within), self.log()[-4000:]
        return self

    def log(self) -> str:
        return (self._child.stdout.everything() + self._child.stderr.everything()).decode(errors="replace")

    def said_ready(self, within: float = PATIENCE) -> dict[str, str]:
        return self._child.stderr.first(ready, within)

    def metrics(self) -> str:
        return fetch(f"http://127.0.0.1:{self._observe}/metrics")[1].decode()

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        return command(*arguments, "--config", str(self.settings), cwd=self.folder, env=self.environment)

    # Requests

    def ask(self, workspace: str = "acme", label: str | None = None) -> Answer:
        """One request as a runner makes it."""
        with Runner(self._proxy, workspace, label) as runner:
            return runner.ask()

    def load(self, workspace: str = "acme", runners: int = 4) -> "Load":
        return Load([Runner(self._proxy, workspace) for _ in range(runners)])

    def serves(self, within: float = SOON) -> bool:
        return eventually(lambda: self.ask().status == 200, within)

    def refuses(self, refusals: set[tuple[str, int]], within: float = SOON) -> bool:
        return eventually(lambda: self.ask().refusal in refusals, within)

    # The process

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def ended(self) -> int | None:
        return self._child.ended

    def stop(self) -> int:
        return self._child.stop()

    def kill(self):
        """SIGKILL, as from the kernel when memory runs out."""
        self._child.signal(signal.SIGKILL)
        self._child.stop()


def write_settings(
    folder: Path,
    provider: str,
    credentials: list[Settings],
    vault: Settings | None,
    listeners: tuple[str, str] = ("127.0.0.1:0", "127.0.0.1:0"),
) -> Path:
    """The settings file; `listeners` are those of the proxy and of observe."""
    proxy, observe = listeners
    tables: list[tuple[str, Settings]] = [
        ("[proxy]", {"listen": [proxy]}),
        ("[observe]", {"listen": observe}),
        ("[store]", {"backend": "none"}),
        ("[log]", {"filter": "trace"}),
        ("[providers.openai]", {"base_url": provider}),
    ]
    if vault is not None:
        tables.append(("[vault]", vault))
    tables += [("[[credential]]", credential) for credential in credentials]
    file = folder / "keyside.toml"
    file.write_text("".join(_table(heading, rows) for heading, rows in tables))
    return file


class Runner:
    """One kept-alive connection to the proxy."""

    BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "count to three"}]})

    def __init__(self, port: int, workspace: str, label: str | None = None):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._path = f"/w/{workspace}/openai/v1/chat/completions"
        self._headers = {"Content-Type": "application/json", **({"X-Keyside-Label": label} if label else {})}

    def ask(self) -> Answer:
        begun = time.monotonic()
        try:
            self._connection.request("POST", self._path, self.BODY, self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(0, None, repr(error), time.monotonic() - begun)
        seconds = time.monotonic() - begun
        error = {} if response.status == 200 else json.loads(body).get("error", {})
        return Answer(response.status, error.get("code"), error.get("message", ""), seconds)

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_):
        self._connection.close()


class Load:
    """Runners that send requests in a loop inside a `with` block."""

    def __init__(self, runners: list[Runner]):
        self.answers: list[Answer] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(runner,), daemon=True) for runner in runners]

    def goes_on(self, seconds: float):
        """Continues the load for this time, to check that a state lasts."""
        self._over.wait(seconds)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    @property
    def slowest(self) -> float:
        return max(answer.seconds for answer in self.answers)

    def assert_nobody_noticed(self):
        assert len(self.answers) >= ENOUGH, "there must have been a load"
        assert self.failed == [], f"{len(self.failed)} of {len(self.answers)} failed: {self.failed[:3]}"
        assert self.slowest < AT_ONCE, f"a request took {self.slowest} s"

    def _run(self, runner: Runner):
        with runner:
            while not self._over.wait(0.01):  # without the pause, the suite would measure its own interpreter
                self.answers.append(runner.ask())

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, failed, *_):
        if not failed:
            eventually(lambda: len(self.answers) >= ENOUGH)
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def command(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, ordinary: bool = False
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*(ORDINARY if ordinary else []), binary(), *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


@functools.cache
def commands() -> frozenset[str]:
    """The commands of this build of Keyside."""
    listed = subprocess.run([binary(), "--help"], capture_output=True, text=True, check=True).stdout
    _, _, after = listed.partition("Commands:\n")
    return frozenset(line.split()[0] for line in after.partition("\n\n")[0].splitlines() if line.strip())


def needs(name: str) -> pytest.MarkDecorator:
    """Skips tests if this build lacks the command; the summary at the end counts them."""
    return pytest.mark.skipif(name not in commands(), reason=f"this keyside has no command `{name}`")


def _table(heading: str, rows: Settings) -> str:
    return "".join([f"{heading}\n", *(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())])
