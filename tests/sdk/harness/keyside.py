"""The real `keyside` binary, serving on free ports from a temporary folder."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.child import Child, Output
from harness.serving import ready, waiting
from harness.web import fetch

#: A fake address of the admin page, which refusals link to.
PUBLIC_URL = "https://keys.example.test"

SETTINGS = """\
[proxy]
listen = ["127.0.0.1:0", "unix:{socket}"]
[admin]
listen = "127.0.0.1:0"
public_url = "{public_url}"
[observe]
listen = "127.0.0.1:0"
[store]
path = "data"
[log]
filter = "trace"
"""

PROVIDER = """\
[providers.{id}]
base_url = "{base_url}"
"""


class Keyside:
    """A running Keyside; `folder` is all that it can write to, `providers` maps ids to base URLs,
    `tables` has more settings: strings, and lists of them. One that `waits` is not ready yet, and
    only asked at `observe`."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        providers: dict[str, str],
        tables: dict[str, dict[str, str | list[str]]] | None = None,
        *,
        waits: bool = False,
    ):
        self._binary = binary
        self.folder = folder
        self.socket = folder / "run/proxy.sock"
        settings = [SETTINGS.format(public_url=PUBLIC_URL, socket=self.socket)]
        settings += [PROVIDER.format(id=id, base_url=url) for id, url in providers.items()]
        for name, table in (tables or {}).items():
            settings += [f"[{name}]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in table.items())]
        (folder / "keyside.toml").write_text("".join(settings))
        self._child = Child(
            [binary, "serve", "--config", "keyside.toml"],
            env={"PATH": os.environ["PATH"]},
            cwd=folder,
        )
        if waits:
            self.observe = f"http://{self._child.stderr.first(waiting, within=60)['observe']}"
        else:
            self.becomes_ready()

    def becomes_ready(self, within: float = 60) -> "Keyside":
        bound = self._child.stderr.first(ready, within)
        self.proxy = f"http://{bound['proxy'].split(',')[0]}"
        self.admin, self.observe = f"http://{bound['admin']}", f"http://{bound['observe']}"
        self._token = (self.folder / "data/admin-token").read_text().strip()
        return self

    @property
    def outputs(self) -> dict[str, Output]:
        return {"stdout": self._child.stdout, "stderr": self._child.stderr}

    def try_admin(
        self, path: str, *, body: dict | None = None, method: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an admin request, successful or not."""
        headers = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        return fetch(f"{self.admin}{path}", headers=headers, body=body, method=method)

    def ask_admin(self, path: str, *, body: dict | None = None, method: str | None = None) -> bytes:
        """The body of a successful admin request."""
        status, answer = self.try_admin(path, body=body, method=method)
        assert 200 <= status < 300, f"{method or 'request'} {path}: {status} {answer!r}"
        return answer

    def command(self, *arguments: str, given: str = "") -> str:
        """The output of a successful `keyside` command; `given` is its standard input."""
        done = subprocess.run(
            [self._binary, *arguments, "--admin-url", self.admin, "--token-file", "data/admin-token"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def add_workspace(self, id: str):
        self.ask_admin("/api/workspaces", body={"id": id, "name": id})

    def add_key(self, workspace: str, provider: str, secret: str) -> str:
        """Stores a live key under the label `default` and returns the credential's id."""
        credential = {"workspaceId": workspace, "provider": provider, "label": "default", "secret": secret}
        return json.loads(self.ask_admin("/api/integrations/credentials", body=credential))["id"]

    def revoke(self, credential: str):
        self.ask_admin(f"/api/integrations/credentials/{credential}", method="DELETE")

    def metrics(self) -> bytes:
        status, body = fetch(f"{self.observe}/metrics")
        assert status == 200, body
        return body

    def refusals(self, code: str) -> int:
        """How often Keyside has refused a request with this code."""
        return self._count(f'keyside_refusals_total{{code="{code}"}}')

    def tokens(self, provider: str) -> dict[str, int]:
        """How many tokens a provider has reported, by direction."""
        return {
            direction: self._count(f'keyside_tokens_total{{direction="{direction}",provider="{provider}"}}')
            for direction in ("input", "output")
        }

    def _count(self, series: str) -> int:
        count = re.search(rf"^{re.escape(series)} (\d+)$", self.metrics().decode(), re.MULTILINE)
        return int(count[1]) if count else 0

    @property
    def ended(self) -> int | None:
        """The exit code, once there is one."""
        return self._child.ended

    def stop(self, within: float = 30) -> int:
        return self._child.stop(within)


def binary() -> Path:
    """The program under test: the one in KEYSIDE_BIN, or else the debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[3] / "target"))
    binary = Path(os.environ.get("KEYSIDE_BIN", target / "debug/keyside")).absolute()
    if not binary.is_file():
        pytest.exit(f"there is no {binary}: build it with `cargo build`, or name another in KEYSIDE_BIN", returncode=1)
    return binary
