"""Follows docs/VAULT.md: runs the page's commands with an empty OpenBao."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bao import BINARY, Bao
from harness.canary import canary
from harness.child import Child
from harness.keyside import binary
from harness.ports import free_port
from harness.serving import ready
from harness.web import PATIENCE, eventually
from repository import page
from sidecar import Runner, needs

BLOCKS = [block for block in page("docs/VAULT.md").blocks if block.heading == "From an empty Vault to a running sidecar"]
COMMANDS = [command for block in BLOCKS for _, command in block.commands]


class Reader:
    """A user at a terminal, who is root in an empty OpenBao."""

    def __init__(self, bao: Bao, folder: Path):
        (programs := folder / "bin").mkdir()
        (programs / "bao").symlink_to(BINARY)
        (programs / "keyside").symlink_to(binary())
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "VAULT_ADDR": bao.address,
            "VAULT_CACERT": str(bao.tls.ca_file),
            "VAULT_TOKEN": bao.root,
        }

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def empty_bao(tmp_path_factory, tls) -> Iterator[Bao]:
    running = Bao(tmp_path_factory.mktemp("empty") / "server", tls)
    yield running
    running.stop()


@pytest.fixture
def reader(empty_bao, folder) -> Reader:
    reader = Reader(empty_bao, folder)
    (settings,) = (block.text for block in BLOCKS if block.language == "toml")
    (reader.folder / "keyside.toml").write_text(settings)
    return reader


@pytest.fixture
def keys(reader) -> list[str]:
    """The two key files that the page assumes."""
    keys = [canary("sk-proj-"), canary("sk-proj-")]
    for name, key in zip(("openai-key", "next-openai-key"), keys, strict=True):
        (reader.folder / name).write_text(key)
    return keys


def the_page_has_the_commands_that_are_run_here():
    programs = [command.split()[0] for command in COMMANDS]
    assert programs.count("keyside") == 3
    assert programs.count("bao") >= 6
    assert programs.count("curl") == programs.count("(umask") == 1
    assert len(programs) == programs.count("keyside") + programs.count("bao") + 2


@needs("proxy")
@needs("vault")
def the_commands_on_the_page_start_a_sidecar_that_uses_the_newest_key(reader, keys, empty_bao, provider):
    provider.good = set(keys)
    port = free_port()
    # Differences from the page: the addresses of Vault, the provider and the listeners, because
    # other tests run on this machine.
    reader.environment |= {
        "KEYSIDE_VAULT__ADDRESS": empty_bao.address,
        "KEYSIDE_PROVIDERS__OPENAI__BASE_URL": provider.url,
        "KEYSIDE_PROXY__LISTEN": f"127.0.0.1:{port}",
        "KEYSIDE_OBSERVE__LISTEN": "127.0.0.1:0",
    }
    sidecar = None
    try:
        for command in COMMANDS:
            if command == "keyside proxy":
                environment = {name: value for name, value in reader.environment.items() if name != "VAULT_TOKEN"}
                sidecar = Child([binary(), "proxy"], env=environment, cwd=reader.folder)
                sidecar.stderr.first(ready, within=PATIENCE)
            else:
                said = reader.run(command.replace("127.0.0.1:7380", f"127.0.0.1:{port}"))
                assert not command.startswith("curl") or "1, 2, 3" in said
        assert keys[0] in provider.seen

        def uses_the_next():
            with Runner(port, "acme") as runner:
                return runner.ask().status == 200 and provider.seen[-1] == keys[1]

        assert eventually(uses_the_next, within=30 + PATIENCE), "the page's poll interval is the default of 30 s"
    finally:
        if sidecar:
            sidecar.stop()


@pytest.mark.slow
def its_commands_to_openbao_lead_to_a_sign_in_that_reads_the_key(reader, keys, empty_bao):
    """The part that needs no Keyside, with the least policy that `keyside vault policy` must print.
    """
    (reader.folder / "keyside-acme.hcl").write_text('path "kv/data/teams/acme/openai" { capabilities = ["read"] }\n')
    for command in COMMANDS:
        if not command.startswith(("keyside", "curl")):
            reader.run(command)

    secret_id = reader.folder / "secret-id"
    assert secret_id.stat().st_mode & 0o077 == 0
    body = {"role_id": "keyside-acme", "secret_id": secret_id.read_text()}
    token = empty_bao.ask("POST", "auth/approle/login", body, token=None)["auth"]["client_token"]
    read = empty_bao.ask("GET", "kv/data/teams/acme/openai", token=token)["data"]
    assert read["data"]["api_key"] == keys[1]
    assert read["metadata"]["version"] == 2
