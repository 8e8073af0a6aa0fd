"""The search that follows each test of a sidecar finds secrets; and what no other test starts is searched here."""

import pytest

from canaries import secrets_in
from harness.canary import canary
from harness.web import eventually
from sidecar import A_WHILE, GONE, declared, needs
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
def nothing_secret_is_said_when_signing_in_and_reading_fails(fault, corner, start, before_bao):
    """`start` searches what was written; here it is made to write about each request that carries a secret."""
    corner.new_key()
    before_bao.fault = fault
    sidecar = start(corner.source(), corner.login().at(before_bao.address)).is_up()
    with sidecar.load(runners=1) as load:
        load.goes_on(A_WHILE)
    assert before_bao.asked.count("auth/approle/login") > 0
    assert sidecar.log()


@needs("proxy")
def a_key_that_cannot_be_one_is_refused_without_being_shown(corner, start):
    broken = canary("sk-proj-") + "\nX-Injected: 1"
    corner.canaries.append(broken.partition("\n")[0])
    corner.bao.ask("POST", f"{corner.mount}/data/acme/openai", {"data": {"api_key": broken}})
    sidecar = start([declared(corner.source())], corner.login()).is_up()

    assert eventually(lambda: f"{corner.mount}/acme/openai" in sidecar.readiness()[1], within=10)
    assert sidecar.ask().refusal in GONE
