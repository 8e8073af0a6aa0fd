"""Vault down, sealed, slow or faulty: a key that was read stays in use, no request waits, and
Keyside recovers by itself."""

import pytest

from bao import new_authority
from harness.web import PATIENCE, eventually
from sidecar import A_WHILE, AT_ONCE, UNKNOWN, declared, needs
from slow import Fault

pytestmark = needs("proxy")

ILLNESSES = {
    "429": Fault(status=429),
    "472": Fault(status=472),
    "473": Fault(status=473),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "slow": Fault(delay=4),
    "too slow": Fault(delay=8),
    "never answers": Fault(hangs=True),
    "cuts its answers": Fault(cuts=True),
    # A gateway before Vault that has no backend: a 404, but not about the secret.
    "gateway's 404": Fault(status=404, page=b"default backend - 404"),
    "gateway's 403": Fault(status=403, page=b'{"message": "no route"}'),
}

#: Cases that differ from others only in a number run only with `make vault`.
SELDOM = ("472", "473", "503", "too slow", "gateway's 403")

#: After an outage Keyside retries with a backoff, so this takes longer than a poll.
RECOVERED = PATIENCE


@pytest.mark.parametrize(
    "illness", [pytest.param(name, marks=[pytest.mark.slow] * (name in SELDOM)) for name in ILLNESSES]
)
def a_warm_key_serves_at_once_whatever_ails_vault(illness, corner, start, provider, before_bao):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login().at(before_bao.address)).becomes_ready()
    assert sidecar.ask().status == 200

    with sidecar.load() as load:
        before_bao.fault = ILLNESSES[illness]
        asked = len(before_bao.asked.requests)
        assert eventually(lambda: len(before_bao.asked.requests) > asked), "Vault was not asked meanwhile"
        load.goes_on(A_WHILE)
        before_bao.fault = Fault()
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=RECOVERED)
    load.assert_nobody_noticed()


@pytest.mark.parametrize("illness", ["503", "never answers"])
def an_unread_key_gets_503_at_once_while_read_ones_are_used(illness, corner, start, provider, before_bao):
    provider.good = {corner.new_key(), corner.new_key("cold/openai")}
    before_bao.fault = Fault(**{**vars(ILLNESSES[illness]), "only": f"{corner.mount}/data/cold"})
    credentials = [declared(corner.source()), declared(corner.source("cold/openai"), workspace="cold")]
    sidecar = start(credentials, corner.login().at(before_bao.address)).is_up()

    assert eventually(lambda: sidecar.ask().status == 200)
    cold = sidecar.ask("cold")
    assert cold.refusal in UNKNOWN
    assert cold.seconds < AT_ONCE
    before_bao.fault = Fault()
    assert eventually(lambda: sidecar.ask("cold").status == 200, within=RECOVERED)


def killing_vault_fails_no_request_and_polling_continues_afterwards(mortal_corner, start, provider):
    provider.good = {mortal_corner.new_key()}
    sidecar = start(mortal_corner.source(), mortal_corner.login()).becomes_ready()

    with sidecar.load() as load:
        mortal_corner.bao.kill()
        load.goes_on(A_WHILE)
        _assert_the_outage_shows(sidecar)
        mortal_corner.bao.start()
        load.goes_on(A_WHILE)  # it runs, and is sealed
        mortal_corner.bao.unseal()
        following = mortal_corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=RECOVERED)
    load.assert_nobody_noticed()


def sealing_vault_fails_no_request_and_polling_continues_afterwards(mortal_corner, start, provider):
    provider.good = {mortal_corner.new_key()}
    sidecar = start(mortal_corner.source(), mortal_corner.login()).becomes_ready()

    with sidecar.load() as load:
        mortal_corner.bao.seal()
        load.goes_on(A_WHILE)
        _assert_the_outage_shows(sidecar)
        mortal_corner.bao.unseal()
        following = mortal_corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=RECOVERED)
    load.assert_nobody_noticed()
    assert eventually(lambda: sidecar.readiness()[0] == 200, within=RECOVERED)
    assert _source_failed(sidecar) == [0]


def a_key_deleted_during_an_outage_is_refused_after_it(corner, start, provider, before_bao):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login().at(before_bao.address)).becomes_ready()
    before_bao.fault = Fault(status=503)
    corner.bao.ask("DELETE", f"{corner.mount}/data/acme/openai")
    with sidecar.load() as load:
        load.goes_on(A_WHILE)
    load.assert_nobody_noticed()

    before_bao.fault = Fault()
    assert eventually(lambda: sidecar.ask().status != 200, within=RECOVERED)


def a_replaced_authority_of_vault_is_read_again_without_a_restart(corner, start, provider, before_bao, folder):
    provider.good = {corner.new_key()}
    login = corner.login()
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(corner.bao.tls.ca_file.read_bytes())
    login.settings["ca_file"] = str(ca_file)
    sidecar = start(corner.source(), login.at(before_bao.address)).becomes_ready()

    with sidecar.load() as load:
        (folder / "next").mkdir()
        following_authority = new_authority(folder / "next")
        before_bao.show_certificate_of(following_authority)
        before_bao.fault = Fault(cuts=True)  # ends the connection with the previous certificate
        assert eventually(lambda: "vault.ca_file" in sidecar.readiness()[1]), sidecar.readiness()
        before_bao.fault = Fault()
        ca_file.write_bytes(following_authority.ca_file.read_bytes())
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=RECOVERED), sidecar.readiness()
    load.assert_nobody_noticed()


def after_the_outage_that_the_settings_allow_requests_are_refused_until_vault_is_back(
    corner, start, provider, before_bao
):
    provider.good = {corner.new_key()}
    login = corner.login()
    login.settings |= {"outage": "2s", "timeout": "1s"}
    sidecar = start(corner.source(), login.at(before_bao.address)).becomes_ready()
    assert sidecar.ask().status == 200

    before_bao.fault = Fault(hangs=True)
    assert sidecar.refuses(UNKNOWN), sidecar.ask()
    assert sidecar.ask().seconds < AT_ONCE
    before_bao.fault = Fault()
    assert sidecar.serves(within=RECOVERED)


@pytest.mark.parametrize("illness", ["503", "never answers"])
def a_start_without_vault_waits_says_why_and_becomes_ready_by_itself(illness, corner, start, provider, before_bao):
    provider.good = {corner.new_key()}
    before_bao.fault = ILLNESSES[illness]
    login = corner.login()
    login.settings["timeout"] = "1s"
    sidecar = start(corner.source(), login.at(before_bao.address)).is_up()

    assert eventually(lambda: before_bao.address in sidecar.readiness()[1]), sidecar.readiness()
    assert sidecar.readiness()[0] == 503
    assert eventually(lambda: before_bao.address in sidecar.log())
    waiting = sidecar.ask()
    assert waiting.refusal in UNKNOWN
    assert waiting.seconds < AT_ONCE

    before_bao.fault = Fault()
    sidecar.becomes_ready(within=RECOVERED)
    assert sidecar.ask().status == 200


def a_start_before_vault_listens_becomes_ready_by_itself(mortal_corner, start, provider):
    provider.good = {mortal_corner.new_key()}
    login = mortal_corner.login()
    mortal_corner.bao.kill()
    sidecar = start(mortal_corner.source(), login).is_up()
    assert eventually(lambda: mortal_corner.bao.address in sidecar.readiness()[1]), sidecar.readiness()
    assert sidecar.readiness()[0] == 503

    mortal_corner.bao.start()
    mortal_corner.bao.unseal()
    sidecar.becomes_ready(within=RECOVERED)
    assert sidecar.ask().status == 200


def _assert_the_outage_shows(sidecar):
    """Requests are served, so it is ready; the details and the log name the keys that will expire.
    """
    assert eventually(lambda: _source_failed(sidecar) == [1]), sidecar.readiness()
    status, details = sidecar.readiness()
    assert status == 200
    assert "vault" in details.lower(), details
    # The log is written asynchronously.
    assert eventually(lambda: "WARN" in sidecar.log())


def _source_failed(sidecar) -> list[float]:
    """What the metric says of each key."""
    lines = [line for line in sidecar.metrics().splitlines() if line.startswith("keyside_credential_source_failed{")]
    return [float(line.rpartition(" ")[2]) for line in lines]
