"""Proves that the search after each sidecar test finds secrets, and searches the commands that no
other test runs."""

import base64
import os
import secrets

import pytest

from canaries import secrets_in
from conftest import Corner
from harness.canary import canary
from harness.web import eventually
from memory import places
from sidecar import A_WHILE, GONE, SOON, Sidecar, declared, needs
from slow import Fault


def the_search_finds_a_key_and_any_token_and_nothing_else(corner):
    key, login = corner.new_key(), corner.login()
    issued = corner.bao.new_token(corner.policy)
    quiet = f"signed in as {login.settings['role_id']}, reading {corner.mount}/acme/openai of keys.example.test"

    assert list(secrets_in(quiet, corner.canaries)) == []
    for secret in (key, issued, corner.bao.root, *login.secrets):
        assert list(secrets_in(f"{quiet} {secret}!", corner.canaries)), secret[:4]
    assert list(secrets_in(key.encode().hex(), corner.canaries))


@needs("proxy")
@pytest.mark.parametrize("fault", [Fault(), Fault(status=403), Fault(status=500), Fault(cuts=True)], ids=str)
def no_secret_is_printed_when_signing_in_or_reading_fails(fault, corner, start, before_bao):
    """`start` searches the output; this test makes Keyside log each request that carries a secret.
    """
    corner.new_key()
    before_bao.fault = fault
    sidecar = start(corner.source(), corner.login().at(before_bao.address)).is_up()
    with sidecar.load(runners=1) as load:
        load.goes_on(A_WHILE)
    assert before_bao.asked.count("auth/approle/login") > 0
    assert sidecar.log()


@needs("proxy")
def an_invalid_key_is_refused_without_being_shown(corner, start):
    broken = canary("sk-proj-") + "\nX-Injected: 1"
    corner.canaries.append(broken.partition("\n")[0])
    corner.bao.ask("POST", f"{corner.mount}/data/acme/openai", {"data": {"api_key": broken}})
    sidecar = start([declared(corner.source())], corner.login()).is_up()

    assert eventually(lambda: f"{corner.mount}/acme/openai" in sidecar.readiness()[1])
    assert sidecar.ask().refusal in GONE


@needs("proxy")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into the memory of another process")
@pytest.mark.parametrize("version", [1, 2])
def a_key_is_in_memory_only_where_the_http_library_has_left_a_message(
    version, bao, folder, issuers, canaries, start, provider
):
    """Keyside wipes its own copies: each remaining copy is preceded by the beginning of an HTTP
    message."""
    corner = Corner(bao, folder, issuers, canaries, version=version)
    first, second = (_long_key() for _ in range(2))
    provider.good = {first, second}
    corner.write_key(first)
    sidecar = start(corner.source(), corner.login()).becomes_ready()
    assert sidecar.ask().status == 200
    corner.write_key(second)
    with sidecar.load(runners=2):
        assert provider.saw(second, within=SOON)
    assert sidecar.ask().status == 200

    # Finding the path proves that memory was searched.
    assert places(sidecar.pid, f"{corner.mount}/acme/openai".encode())
    for key in (first, second):
        # A request that has just finished may still hold its key.
        assert eventually(lambda key=key: _outside_of_messages(sidecar, key) == []), (
            _outside_of_messages(sidecar, key)
        )
        for encoded in (base64.b64encode(key.encode())[FREED:-4], key.encode().hex().encode()[FREED:]):
            assert places(sidecar.pid, encoded) == []


#: The most bytes of a freed block that the allocator overwrites.
FREED = 16


def _long_key() -> str:
    """Longer than a block of any hash function, whose last block may stay on the stack. Go's JSON
    escapes the `&`."""
    return canary(f"sk-proj-{secrets.token_hex(64)}&")


def _outside_of_messages(sidecar: Sidecar, key: str) -> list[bytes]:
    """The bytes before each copy of the key (up to its `&`) that is not in a request to the
    provider or a response from Vault."""
    begun, rest = key[:FREED].encode(), key[FREED : key.index("&")].encode()
    beginnings = (b"authorization: Bearer " + begun, b'"api_key":"' + begun)
    return [before for before, _ in places(sidecar.pid, rest) if not before.endswith(beginnings)]
