"""A Keyside with a workspace, a provider that can change its mind about a key, and a reader of the page at a shell."""

import http.server
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.canary import canary
from harness.keyside import Keyside, binary
from harness.web import fetch

PAGE = Path(__file__).parents[2] / "docs/STANDARD_WORKFLOW.md"
BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
WORKSPACE, PROVIDER = "acme", "openai"
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Provider:
    """Accepts exactly the keys in `good`."""

    def __init__(self):
        self.good: set[str] = set()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                known = key in provider.good
                error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
                body = json.dumps({"data": []} if known else {"error": error}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Reader:
    """An operator who follows the page."""

    def __init__(self, keyside: Keyside, provider: Provider, folder: Path):
        self.keyside, self.provider = keyside, provider
        (folder / "bin").mkdir()
        (folder / "bin/keyside").symlink_to(binary())
        self.folder = keyside.folder
        self.new_key = canary("sk-proj-")
        (self.folder / "new-key").write_text(self.new_key)
        self.environment = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "KEYSIDE_ADMIN_URL": keyside.admin,
            "OBSERVE": keyside.observe,
            "WORKSPACE": WORKSPACE,
            "PROVIDER": PROVIDER,
        }

    def add(self, **fields) -> str:
        """Stores a key that the provider accepts; returns its id."""
        secret = canary("sk-proj-")
        self.provider.good.add(secret)
        fields = {"workspaceId": WORKSPACE, "provider": PROVIDER, "label": "default", "secret": secret, **fields}
        self.environment["ID"] = json.loads(self.keyside.ask_admin("/api/integrations/credentials", body=fields))["id"]
        return self.environment["ID"]

    def follow(self, heading: str) -> list[str]:
        """Runs each block of a section; returns what each printed. A command that fails fails the test."""
        return [self._run(block) for block in blocks(heading)]

    def _run(self, block: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )
        shown = done.stdout + done.stderr
        assert done.returncode == 0, f"{block}\n{shown}"
        assert self.new_key not in shown
        return shown

    def exit_code(self, *arguments: str) -> int:
        """The exit code of a `keyside` command."""
        return subprocess.run(
            ["keyside", *arguments], cwd=self.folder, env=self.environment, capture_output=True, timeout=120
        ).returncode

    def value(self, metric: str, **labels: str) -> float:
        """The sum of a metric's series with these labels."""
        found = [value for name, have, value in self.series() if name == metric and labels.items() <= have.items()]
        return sum(found)

    def series(self) -> list[tuple[str, dict[str, str], float]]:
        text = self.keyside.metrics().decode()
        return [(name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SERIES.findall(text)]

    def request(self) -> int:
        """One request of a runner; returns its status."""
        url = f"{self.keyside.proxy}/w/{WORKSPACE}/{PROVIDER}/v1/chat/completions"
        return fetch(url, body={"model": "m", "messages": [{"role": "user", "content": "Hi"}]})[0]


def blocks(heading: str) -> list[str]:
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in BLOCK.findall(section)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.stop()


@pytest.fixture
def reader(tmp_path, provider) -> Iterator[Reader]:
    (home := tmp_path / "keyside").mkdir()
    tables = {f"providers.{PROVIDER}": {"base_url": provider.url}, "smoke": {"schedule": "off", "on_change": False, "retry": "0s"}}
    keyside = Keyside(binary(), home, {}, tables)
    try:
        keyside.add_workspace(WORKSPACE)
        reader = Reader(keyside, provider, tmp_path)
        provider.good.add(reader.new_key)
        yield reader
    finally:
        keyside.stop()
