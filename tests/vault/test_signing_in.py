"""Every auth method; signing in again when a token expires; one sign-in per process."""

import time

import pytest

import logins
from bao import unique
from conftest import Corner
from harness.web import eventually
from logins import WAYS, Login, write_secret
from sidecar import A_WHILE, POLL_SETTING, SOON, needs
from slow import Fault

pytestmark = needs("proxy")


@pytest.mark.parametrize("way", WAYS)
def a_key_reaches_the_provider_with_each_way_of_signing_in(way, corner, start, provider):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login(way)).becomes_ready()

    assert sidecar.ask().status == 200
    assert set(provider.seen) == provider.good


def a_way_of_signing_in_may_be_mounted_elsewhere(corner, start, provider, issuers):
    provider.good = {corner.new_key()}
    elsewhere = unique("elsewhere")
    corner.bao.enable_auth(elsewhere, "jwt")
    corner.bao.ask("POST", f"auth/{elsewhere}/config", {"jwt_validation_pubkeys": [issuers.signer.public_key]})
    login = corner.login("jwt", at=elsewhere)

    assert start(corner.source(), login).becomes_ready().ask().status == 200


def a_token_in_the_environment_is_used_as_vaults_own_tools_use_it(corner, start, provider, canaries):
    provider.good = {corner.new_key()}
    token = corner.bao.new_token(corner.policy, no_default_policy=False)
    canaries.append(token)
    environment = {"VAULT_ADDR": corner.bao.address, "VAULT_CACERT": str(corner.bao.tls.ca_file), "VAULT_TOKEN": token}
    sidecar = start(corner.source(), {"poll": POLL_SETTING}, environment=environment).becomes_ready()

    assert sidecar.ask().status == 200


def the_namespace_is_named_at_the_sign_in_and_at_each_read(bao, folder, issuers, canaries, start, provider, before_bao):
    team = unique("team")
    bao.ask("POST", f"sys/namespaces/{team}")
    bao.enable_auth("approle", "approle", team)
    bao.ask("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}}, namespace=team)
    bao.ask("PUT", "kv/acme/openai", {"api_key": "sk-proj-of-the-namespace"}, namespace=team)
    bao.write_policy("reader", 'path "kv/acme/openai" { capabilities = ["read"] }', team)
    login = logins.by_approle(bao, issuers, folder, "reader", namespace=team)
    canaries += ["sk-proj-of-the-namespace", *login.secrets]
    provider.good = {"sk-proj-of-the-namespace"}

    sidecar = start("vault:kv/acme/openai#api_key", login.at(before_bao.address)).becomes_ready()
    assert sidecar.ask().status == 200
    assert {namespace for _, path, namespace in before_bao.asked.requests if not path.startswith("sys/")} == {team}


@pytest.mark.parametrize(
    "way", ["approle", *(pytest.param(way, marks=pytest.mark.slow) for way in ("jwt", "kubernetes", "certificate"))]
)
def a_revoked_token_leads_to_another_sign_in_and_no_request_notices(way, corner, start, provider):
    provider.good = {corner.new_key()}
    login = corner.login(way)
    sidecar = start(corner.source(), login).becomes_ready()

    with sidecar.load() as load:
        corner.bao.revoke_all_of(login.mount)
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=2 * SOON)
    load.assert_nobody_noticed()


def a_token_file_is_read_again_when_its_token_was_revoked(corner, start, provider):
    """Vault Agent writes the next token there; meanwhile, keys in memory stay in use."""
    provider.good = {corner.new_key()}
    login = corner.login("token file")
    sidecar = start(corner.source(), login).becomes_ready()

    with sidecar.load() as load:
        corner.bao.revoke(login.file.read_text())
        load.goes_on(A_WHILE)
        write_secret(login.file, corner.bao.new_token(corner.policy, no_default_policy=False))
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=SOON)
    load.assert_nobody_noticed()


def the_service_accounts_token_is_read_again_at_each_sign_in(corner, start, provider):
    provider.good = {corner.new_key()}
    login = corner.login("kubernetes")
    sidecar = start(corner.source(), login).becomes_ready()

    before = login.file.read_text()
    write_secret(login.file, corner.issuers.kubernetes.new_token("flows", login.settings["role"]))
    del corner.issuers.kubernetes.valid[before]
    corner.bao.revoke_all_of("kubernetes")
    following = corner.new_key()
    provider.good.add(following)

    with sidecar.load():
        assert provider.saw(following, within=2 * SOON)


def a_renewed_client_certificate_is_read_at_the_next_sign_in(corner, start, provider, folder):
    provider.good = {corner.new_key()}
    login = corner.login("certificate")
    sidecar = start(corner.source(), login).becomes_ready()

    with sidecar.load() as load:
        name = unique("renewed")
        corner.bao.tls.write_client(folder, "client", name)
        accepted = {"certificate": corner.bao.tls.ca_file.read_text(), "allowed_common_names": [name]}
        role = f"auth/cert/certs/{login.settings['role']}"
        corner.bao.ask("POST", role, {**accepted, "token_policies": [corner.policy]})
        corner.bao.revoke_all_of("cert")
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=SOON), sidecar.readiness()
    load.assert_nobody_noticed()


def a_lease_of_5_seconds_is_renewed_under_load(corner, start, provider):
    provider.good = {corner.new_key()}
    login = corner.login(token_ttl="5s", token_max_ttl="1h")
    sidecar = start(corner.source(), login).becomes_ready()
    signed_in = _logins(corner, login)

    with sidecar.load() as load:
        assert eventually(lambda: _renewals(corner) >= 2)
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=SOON)
    load.assert_nobody_noticed()
    assert signed_in == 1
    assert _logins(corner, login) == 1, "a token that can be renewed is renewed"


def a_lease_at_its_end_of_all_ends_leads_to_another_sign_in_in_time(corner, start, provider):
    provider.good = {corner.new_key()}
    login = corner.login(token_ttl="3s", token_max_ttl="5s")
    begun = time.monotonic()
    sidecar = start(corner.source(), login).becomes_ready()

    with sidecar.load() as load:
        assert eventually(lambda: _logins(corner, login) >= 3)
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=SOON)
    load.assert_nobody_noticed()
    leases = (time.monotonic() - begun) / 3
    assert _logins(corner, login) <= 2 + leases, "one sign-in a lease, and no storm"
    assert _refused_reads(corner) == [], "the token was replaced before it ended"


@pytest.mark.slow
def a_failed_sign_in_is_retried_with_a_backoff(corner, start, provider, before_bao):
    provider.good = {corner.new_key()}
    login = corner.login()
    before_bao.fault = Fault(status=403, only="auth/")
    sidecar = start(corner.source(), login.at(before_bao.address)).is_up()

    with sidecar.load(runners=1) as load:
        load.goes_on(4)
    tried = before_bao.asked.count("auth/approle/login")
    assert 2 <= tried <= 8, f"{tried} sign-ins in four seconds"
    before_bao.fault = Fault()
    sidecar.becomes_ready(within=30)
    assert sidecar.ask().status == 200


def _logins(corner: Corner, login: Login) -> int:
    return corner.audited().count(f"auth/{login.mount}/login")


def _renewals(corner: Corner) -> int:
    return corner.audited().count("auth/token/renew-self")


def _refused_reads(corner: Corner) -> list[str]:
    return [path for path in corner.audited(refused=True) if path.startswith(corner.mount)]
