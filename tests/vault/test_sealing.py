"""`keyside serve` with `kms.driver = "vault"`: keys in its own store, sealed under keys that
Transit wraps."""

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bao import Bao, unique
from canaries import secrets_in
from harness.canary import canary
from harness.keyside import Keyside, binary
from harness.ports import free_port
from harness.web import PATIENCE, eventually, fetch
from logins import by_approle
from sidecar import Runner, command
from slow import Fault, Slow

#: The policy in docs/CONFIGURATION.md.
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


#: From the end of an outage until Keyside is ready: both the sign-in and the start back off.
RECOVERED = PATIENCE


@pytest.fixture
def policy(mortal_bao) -> str:
    return unique("authority")


@pytest.fixture
def serve(mortal_bao, policy, folder, issuers, provider, canaries) -> Iterator[Callable[..., Keyside]]:
    """Starts `keyside serve` with the same folder each time. At the end, searches all its output.
    """
    mount = unique("transit")
    mortal_bao.mount(mount, "transit")
    mortal_bao.write_policy(policy, POLICY.format(mount=mount))
    login = by_approle(mortal_bao, issuers, folder, policy)
    canaries += login.secrets
    running: list[Keyside] = []

    def serve(*, waits: bool = False, **vault: str) -> Keyside:
        tables = {"kms": {"driver": "vault", "mount": mount}, "vault": {**login.settings, **vault}}
        running.append(Keyside(binary(), folder, {"openai": provider.url}, tables, waits=waits))
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


@pytest.mark.parametrize("away", ["sealed", "killed"])
def a_start_without_vault_waits_says_why_and_becomes_ready_by_itself(away, stored, serve, mortal_bao: Bao):
    stored.stop()
    if away == "sealed":
        mortal_bao.seal()
    else:
        mortal_bao.kill()
    waiting = serve(waits=True)

    assert fetch(f"{waiting.observe}/healthz")[0] == 200
    assert "keyside_build_info" in waiting.metrics().decode()
    status, said = _readiness(waiting)
    assert status == 503
    assert said.startswith("waiting\n")
    assert mortal_bao.address in said and "waiting since 20" in said
    assert ("sealed" in said) == (away == "sealed"), said
    assert eventually(lambda: _waited(waiting) >= 2)

    if away == "killed":
        mortal_bao.start()
    mortal_bao.unseal()
    waiting.becomes_ready(within=RECOVERED)
    assert _readiness(waiting)[0] == 200
    assert _ask(waiting) == 200


def the_first_start_of_all_waits_too(serve, mortal_bao: Bao, folder):
    mortal_bao.seal()
    waiting = serve(waits=True)
    assert _readiness(waiting)[0] == 503
    assert not (folder / "data/keyring").exists()

    mortal_bao.unseal()
    waiting.becomes_ready(within=RECOVERED).add_workspace("acme")


@pytest.mark.parametrize("away", ["refuses connections", "never answers"])
def a_signal_ends_the_wait_at_once(away, stored, serve, mortal_bao: Bao):
    stored.stop()
    before = Slow(mortal_bao)
    try:
        if away == "never answers":
            before.fault = Fault(cuts=True)
            waiting = serve(waits=True, address=before.address, timeout="300s")  # longer than `stop` waits
            before.fault = Fault(hangs=True)
            asked = len(before.asked.requests)
            assert eventually(lambda: len(before.asked.requests) > asked), "Vault was not asked again"
        else:
            waiting = serve(waits=True, address=f"https://127.0.0.1:{free_port()}")
        assert waiting.stop() == 0
    finally:
        before.stop()
    assert _ask(serve()) == 200, "the store is as it was"


@pytest.mark.parametrize(
    "wrong, setting, remedy",
    [
        ("role", "role_id", "vault.secret_id_file"),
        ("key", "key_prefix", "the KMS driver's settings"),
        ("scheme", "address", "vault.address"),
        ("authority", "ca_file", "vault.ca_file"),
        ("policy", "", "allow update on"),
    ],
)
def an_error_that_waiting_cannot_fix_ends_the_start_with_the_remedy(
    wrong, setting, remedy, stored, mortal_bao: Bao, policy, folder
):
    stored.stop()
    settings = folder / "keyside.toml"
    lines = [line for line in settings.read_text().splitlines() if not setting or not line.startswith(f"{setting} = ")]
    table, line = {
        "role": ("[vault]", 'role_id = "somebody-else"'),
        "key": ("[kms]", 'key_prefix = "keyside-other-"'),
        "scheme": ("[vault]", f'address = "{mortal_bao.address.replace("https", "http")}"'),
        "authority": ("[vault]", ""),
        "policy": ("[vault]", ""),
    }[wrong]
    lines.insert(lines.index(table) + 1, line)
    settings.write_text("\n".join(lines))
    if wrong == "policy":
        mortal_bao.write_policy(policy, 'path "auth/token/lookup-self" { capabilities = ["read"] }')

    done = command("serve", "--config", "keyside.toml", cwd=folder)
    assert done.returncode in (1, 78)
    error = done.stderr.partition("error: ")[2]
    assert remedy in error, done.stderr


def a_policy_that_lacks_something_ends_the_wait(stored, serve, mortal_bao: Bao, policy):
    stored.stop()
    mortal_bao.write_policy(policy, 'path "auth/token/lookup-self" { capabilities = ["read"] }')
    mortal_bao.seal()
    waiting = serve(waits=True)
    mortal_bao.unseal()

    assert eventually(lambda: waiting.ended is not None, within=RECOVERED)
    assert waiting.ended == 78
    assert b"allow update on" in waiting.outputs["stderr"].to_the_end(within=PATIENCE)


def _readiness(keyside: Keyside) -> tuple[int, str]:
    status, body = fetch(f"{keyside.observe}/readyz")
    return status, body.decode()


def _waited(keyside: Keyside) -> int:
    """The seconds that it reports to have waited."""
    return int(re.search(r", for (\d+) s$", _readiness(keyside)[1], re.MULTILINE)[1])


def _ask(keyside: Keyside) -> int:
    with Runner(int(keyside.proxy.rpartition(":")[2]), "acme") as runner:
        return runner.ask().status


def _mount_of(keyside: Keyside) -> str:
    settings = (keyside.folder / "keyside.toml").read_text()
    return settings.partition("[kms]")[2].partition('mount = "')[2].partition('"')[0]
