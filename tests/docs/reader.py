"""A person who follows a document at a terminal: one folder, one Keyside, and a provider that is not a real one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from harness.canary import canary, leaks
from harness.child import Child
from harness.keyside import binary
from harness.ports import free_port
from harness.serving import ready
from harness.web import eventually, fetch
from pages import Row
from provider import Provider
from repository import ROOT, page
from terminal import at_a_terminal

WORKSPACE, PROVIDER, LABEL = "acme", "openai", "default"
CLONED = "https://github.com/keyside/keyside"
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL_OF_SERIES = re.compile(r'(\w+)="([^"]*)"')
#: Where a page leaves an id to its reader.
PLACEHOLDERS = {"cred_…": "$ID", "tok_…": "$TOKEN_ID"}
#: Keeps the working directory and exported variables for the next command, as one terminal does.
KEPT = 'trap \'code=$?; pwd >"$KEPT/folder"; export -p >"$KEPT/variables"; exit $code\' EXIT\n'

#: The reader's own variables, such as ID, may have changed since.
RESTORED = 'own=$(export -p); . "$KEPT/variables"; eval "$own"; cd "$(cat "$KEPT/folder")"\n'


class Reader:
    def __init__(self, provider: Provider, folder: Path):
        self.provider = provider
        self.folder = folder / "work"
        self._kept = folder / "kept"
        for one in (self.folder, self._kept, programs := folder / "bin"):
            one.mkdir()
        (programs / "keyside").symlink_to(binary())
        # The page's files by their paths, as in a clone.
        for entry in sorted(ROOT.iterdir()):
            (self.folder / entry.name).symlink_to(entry)
        (folder / ".curlrc").write_text("fail-with-body\nsilent\n")
        # A browser that opens the link.
        _program(programs / "xdg-open", 'exec curl --output /dev/null "$1"')
        (folder / ".gitconfig").write_text(f'[url "{ROOT}"]\n  insteadOf = {CLONED}\n[safe]\n  directory = *\n')
        self.proxy, self.admin, self.observe = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.environment = {
            # The suite's own Python has the SDKs.
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder),
            "KEPT": str(self._kept),
            "TERM": "dumb",
            "NO_COLOR": "1",
            "KEYSIDE_PROXY__LISTEN": f"{self.proxy},unix:{self.folder}/proxy.sock",
            "KEYSIDE_ADMIN__LISTEN": self.admin,
            "KEYSIDE_OBSERVE__LISTEN": self.observe,
            f"KEYSIDE_PROVIDERS__{PROVIDER.upper()}__BASE_URL": provider.url,
            "KEYSIDE_SMOKE__SCHEDULE": "off",
            "KEYSIDE_SMOKE__ON_CHANGE": "false",
            "KEYSIDE_SMOKE__RETRY": "0s",
            "OBSERVE": f"http://{self.observe}",
            "WORKSPACE": WORKSPACE,
            "PROVIDER": PROVIDER,
        }
        self._keys: list[str] = []
        self.new_key = self._key()
        for name in ("key", "new-key", "openai-key"):
            (self.folder / name).write_text(self.new_key)
        self._keyside: Child | None = None

    def follow(self, path: str, heading: str) -> list[str]:
        """Runs the commands of a section; returns what each block showed."""
        blocks = [block.commands for block in page(path).blocks if block.heading == heading]
        return ["".join(self.run(command) for _, command in block) for block in blocks if block]

    def run(self, command: str) -> str:
        """Runs a command at a terminal. If it fails, the test fails. A server is started, and awaited until it is ready."""
        match [word for word in command.split() if "=" not in word]:
            case ["keyside", "serve" | "proxy", *_]:
                self._start(command)
                return ""
            case ["systemctl", "start", *_]:
                self._start("keyside serve")
                return ""
            case ["systemctl", "stop", *_]:
                self._stop()
                return ""
        answers = {"Secret (not shown): ": self.new_key, "Type the label": LABEL, "Type the id": WORKSPACE, "Type the name": "first"}
        code, shown = at_a_terminal(
            self._bash(f"{KEPT}{command}"), cwd=self.folder, environment=self.environment, answers=answers
        )
        assert code == 0, f"{command}\nexits with {code}:\n{shown}"
        self._is_discreet(shown.encode())
        return shown

    def adapted(self, command: str, row: Row) -> str:
        """The command with the reader's own ids and addresses; `row` has what else differs from the page."""
        addresses = {"127.0.0.1:7380": self.proxy, "127.0.0.1:7381": self.admin, "127.0.0.1:7382": self.observe}
        for text, own in (PLACEHOLDERS | row.instead | addresses).items():
            command = command.replace(text, own)
        return command

    def prepare(self, state: str):
        """Brings about the state that a command needs."""
        if state == "serving":
            self.serves()
        elif state in ("stopped", "lost"):
            self._stop()
        else:
            assert state == "empty", state
        if state == "lost":
            data = self._cwd / "data"
            data.rename(data.with_name("data.lost"))

    def starts(self):
        """Keyside runs, with a workspace."""
        if not self._keyside:
            self._start("keyside serve")
        if self.ask_admin(f"/api/workspaces/{WORKSPACE}")[0] == 404:
            self._admin("/api/workspaces", {"id": WORKSPACE, "name": WORKSPACE})

    def serves(self):
        """Keyside runs, with a workspace that has a usable key, a token, and a run."""
        self.starts()
        listed = self._admin(f"/api/integrations/credentials?workspaceId={WORKSPACE}&provider={PROVIDER}&status=active")
        usable = [key for key in listed["items"] if key["label"] == LABEL]
        if usable:
            self.environment["ID"] = usable[0]["id"]
        else:
            self.add(environment="sandbox", usageTag="ci-smoke")
        if "TOKEN_ID" not in self.environment:
            token = self._admin("/api/tokens", {"name": "first", "role": "viewer"})
            self.environment |= {"TOKEN_ID": token["id"], "TOKEN": self._token()}
        assert self.request() == 200
        runs = lambda: self._admin("/api/runs?limit=1")["items"]
        assert eventually(lambda: bool(runs()))
        self.environment["REQUEST_ID"] = runs()[0]["requestId"]

    def add(self, **fields) -> str:
        """Stores a key that the provider accepts; returns its id."""
        fields = {"workspaceId": WORKSPACE, "provider": PROVIDER, "label": LABEL, "secret": self._key(), **fields}
        self.environment["ID"] = self._admin("/api/integrations/credentials", fields)["id"]
        return self.environment["ID"]

    def request(self) -> int:
        """One request of a runner; returns its status."""
        url = f"http://{self.proxy}/w/{WORKSPACE}/{PROVIDER}/v1/chat/completions"
        return fetch(url, body={"model": "m", "messages": [{"role": "user", "content": "Hi"}]})[0]

    def exit_code(self, *arguments: str) -> int:
        """The exit code of a `keyside` command."""
        return subprocess.run(
            ["keyside", *arguments], cwd=self._cwd, env=self.environment, capture_output=True, timeout=120
        ).returncode

    def value(self, metric: str, **labels: str) -> float:
        """The sum of a metric's series with these labels."""
        return sum(value for name, have, value in self.series() if name == metric and labels.items() <= have.items())

    def series(self) -> list[tuple[str, dict[str, str], float]]:
        status, text = fetch(f"http://{self.observe}/metrics")
        assert status == 200, text
        return [(name, dict(LABEL_OF_SERIES.findall(labels)), float(value)) for name, labels, value in SERIES.findall(text.decode())]

    def ask_admin(self, path: str, body: dict | None = None) -> tuple[int, bytes]:
        return fetch(f"http://{self.admin}{path}", headers={"Authorization": f"Bearer {self._token()}"}, body=body)

    def leaves(self):
        """Stops what runs, which logged no key."""
        self._stop()

    @property
    def _cwd(self) -> Path:
        kept = self._kept / "folder"
        return Path(kept.read_text().strip()) if kept.exists() else self.folder

    def _key(self) -> str:
        key = canary("sk-proj-")
        self._keys.append(key)
        self.provider.good.add(key)
        return key

    def _token(self) -> str:
        return (self._cwd / "data/admin-token").read_text().strip()

    def _admin(self, path: str, body: dict | None = None) -> dict:
        status, answer = self.ask_admin(path, body)
        assert 200 <= status < 300, f"{path}: {status} {answer!r}"
        return json.loads(answer)

    def _bash(self, script: str) -> list[str]:
        before = RESTORED if (self._kept / "folder").exists() else ""
        return ["bash", "-euo", "pipefail", "-c", before + script]

    def _start(self, command: str):
        assert not self._keyside, "a Keyside runs already"
        self._keyside = Child(self._bash(f"exec env {command}"), env=self.environment, cwd=self.folder)
        self._keyside.stderr.first(ready, within=60)

    def _stop(self):
        if self._keyside:
            keyside, self._keyside = self._keyside, None
            assert keyside.stop() == 0
            self._is_discreet(keyside.stderr.to_the_end(60) + keyside.stdout.to_the_end(60))

    def _is_discreet(self, shown: bytes):
        for key in self._keys:
            assert not leaks(key, shown), "a key is shown"


def _program(path: Path, script: str):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
