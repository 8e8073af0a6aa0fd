"""`keyside serve` with `kms.driver = "vault"`: keys in its own store, sealed under keys that Transit wraps."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bao import Bao, unique
from canaries import secrets_in
from harness.canary import canary
from harness.keyside import Keyside, binary
from harness.web import fetch
from logins import by_approle
from sidecar import Runner, command

#: What docs/CONFIGURATION.md says that Keyside needs.
POLICY = """\
path "{mount}/keys/keyside-*" {{ capabilities = ["create", "update", "delete"] }}
path "{mount}/encrypt/keyside-*" {{ capabilities = ["update"] }}
path "{mount}/decrypt/keyside-*" {{ capabilities = ["update"] }}
"""


@functools.cache
def _has_the_driver() -> bool:
    environment = {"KMS_DRIVER": "vault", "VAULT_ADDR": "https://vault.example", "VAULT_TOKEN": "none"}
    with tempfile.TemporaryDirectory() as folder:
        return command("check", cwd=Path(folder), env=environment).returncode == 0


pytestmark = pytest.mark.skipif(not _has_the_driver(), reason="this keyside has no KMS driver `vault`")


@pytest.fixture
def serve(mortal_bao, folder, issuers, provider, canaries) -> Iterator[Callable[[], Keyside]]:
    """Starts `keyside serve` on the same folder each time. In the end, all that it wrote is searched."""
    mount, policy = unique("transit"), unique("authority")
    mortal_bao.mount(mount, "transit")
    mortal_bao.write_policy(policy, POLICY.format(mount=mount))
    login = by_approle(mortal_bao, issuers, folder, policy)
    canaries += login.secrets
    tables = {"kms": {"driver": "vault", "mount": mount}, "vault": login.settings}
    running: list[Keyside] = []

    def serve() -> Keyside:
        running.append(Keyside(binary(), folder, {"openai": provider.url}, tables))
        return running[-1]

    yield serve
    written = []
    for keyside in running:
        keyside.stop()
        written += [output.everything() for output in keyside.outputs.values()]
    written += [file.read_bytes() for file in (folder / "data").rglob("*") if file.is_file()]
    assert [found for content in written for found in secrets_in(content.decode("latin-1"), canaries)] == []


@pytest.fixture
def stored(serve, provider, canaries) -> Keyside:
    """A running Keyside with a key of the workspace `acme`."""
    keyside, key = serve(), canary("sk-proj-")
    canaries.append(key)
    provider.good = {key}
    keyside.add_workspace("acme")
    keyside.add_key("acme", "openai", key)
    return keyside


def what_transit_wrapped_opens_after_a_restart(stored, serve):
    assert _ask(stored) == 200
    stored.stop()
    assert _ask(serve()) == 200


def no_request_needs_vault(stored, mortal_bao: Bao):
    mortal_bao.seal()
    assert _ask(stored) == 200
    mortal_bao.kill()
    assert _ask(stored) == 200
    assert fetch(f"{stored.observe}/readyz")[0] == 200


def a_rotated_transit_key_opens_what_was_wrapped_before(stored, serve, mortal_bao: Bao):
    mount = _mount_of(stored)
    mortal_bao.ask("POST", f"{mount}/keys/keyside-acme/rotate", {})
    stored.stop()
    assert _ask(serve()) == 200


def _ask(keyside: Keyside) -> int:
    with Runner(int(keyside.proxy.rpartition(":")[2]), "acme") as runner:
        return runner.ask().status


def _mount_of(keyside: Keyside) -> str:
    settings = (keyside.folder / "keyside.toml").read_text()
    return settings.partition("[kms]")[2].partition('mount = "')[2].partition('"')[0]
