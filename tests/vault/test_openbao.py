"""Assumptions about OpenBao, and tests of the fixtures themselves."""

import base64
import http.client
import time

import pytest

from bao import Refused, unique
from harness.web import eventually
from logins import WAYS
from slow import Fault


def _sign_in(bao, login, at: str) -> dict:
    """Signs in as Keyside does, at this path below `auth/`."""
    secret = login.file.read_text()
    body = {
        "approle": {"role_id": login.settings.get("role_id"), "secret_id": secret},
        "jwt": {"role": login.settings.get("role"), "jwt": secret},
        "kubernetes": {"role": login.settings.get("role"), "jwt": secret},
    }[login.mount]
    return bao.ask("POST", f"auth/{at}/login", body, token=None, namespace=login.settings.get("namespace", ""))["auth"]


@pytest.mark.parametrize("way", ["approle", "jwt", "kubernetes"])
def a_sign_in_gets_a_token_that_reads_the_key(way, corner):
    key = corner.new_key()
    auth = _sign_in(corner.bao, login := corner.login(way), login.mount)

    answer = corner.bao.ask("GET", f"{corner.mount}/data/acme/openai", token=auth["client_token"])
    assert auth["renewable"] and auth["lease_duration"] > 0
    assert answer["data"]["data"]["api_key"] == key


def a_certificate_signs_in(corner):
    login = corner.login("certificate")
    context = corner.bao.tls.client_context()
    context.load_cert_chain(login.settings["client_certificate"], login.settings["client_key"])

    auth = corner.bao.with_context(context).ask("POST", "auth/cert/login", {"name": login.settings["role"]}, token=None)
    assert corner.policy in auth["auth"]["policies"]


def a_wrapped_secret_id_is_unwrapped_once(corner):
    login = corner.login("wrapped approle")
    wrapped = login.file.read_text()

    secret_id = corner.bao.ask("PUT", "sys/wrapping/unwrap", {}, token=wrapped)["data"]["secret_id"]
    login.file.write_text(secret_id)
    assert _sign_in(corner.bao, login, "approle")["client_token"]
    with pytest.raises(Refused):
        corner.bao.ask("PUT", "sys/wrapping/unwrap", {}, token=wrapped)


def a_token_of_another_service_account_is_refused(corner, issuers):
    login = corner.login("kubernetes")
    login.file.write_text(issuers.kubernetes.new_token("flows", "somebody-else"))

    with pytest.raises(Refused) as refused:
        _sign_in(corner.bao, login, "kubernetes")
    assert refused.value.status == 403


def a_role_exists_only_in_its_namespace(bao, folder, issuers):
    team = unique("team")
    bao.ask("POST", f"sys/namespaces/{team}")
    bao.enable_auth("approle", "approle", team)
    login = WAYS["approle"](bao, issuers, folder, "default", namespace=team)
    assert _sign_in(bao, login, "approle")["client_token"]

    del login.settings["namespace"]
    with pytest.raises(Refused):
        _sign_in(bao, login, "approle")


def a_deleted_and_a_destroyed_version_are_404_and_the_metadata_says_which(corner):
    corner.new_key()
    data, metadata = f"{corner.mount}/data/acme/openai", f"{corner.mount}/metadata/acme/openai"

    corner.bao.ask("DELETE", data)
    with pytest.raises(Refused) as deleted:
        corner.bao.ask("GET", data)
    first = corner.bao.ask("GET", metadata)["data"]["versions"]["1"]
    corner.bao.ask("PUT", f"{corner.mount}/destroy/acme/openai", {"versions": [1]})
    second = corner.bao.ask("GET", metadata)["data"]["versions"]["1"]

    assert deleted.value.status == 404
    assert first["deletion_time"] and not first["destroyed"]
    assert second["destroyed"]


def the_mount_of_a_path_is_shown_only_to_tokens_that_may_read_it(corner):
    reader, stranger = corner.bao.new_token(corner.policy), corner.bao.new_token(unique("nothing"))
    where = f"sys/internal/ui/mounts/{corner.mount}/acme/openai"

    told = corner.bao.ask("GET", where, token=reader)["data"]
    assert (told["path"], told["options"]["version"]) == (f"{corner.mount}/", "2")
    with pytest.raises(Refused) as refused:
        corner.bao.ask("GET", where, token=stranger)
    assert refused.value.status == 403


@pytest.mark.slow
def a_lease_is_not_renewed_past_max_ttl(corner):
    login = corner.login(token_ttl="2s", token_max_ttl="3s")
    token = _sign_in(corner.bao, login, "approle")["client_token"]

    def refused():
        try:
            corner.bao.ask("PUT", "auth/token/renew-self", {}, token=token)
        except Refused as answer:
            return answer.status == 403
        return False

    begun = time.monotonic()
    assert eventually(refused, within=10)
    assert time.monotonic() - begun > 2


def a_revoked_token_is_403(corner):
    token = corner.bao.new_token(corner.policy)
    corner.bao.revoke(token)

    with pytest.raises(Refused) as refused:
        corner.bao.ask("GET", f"{corner.mount}/data/acme/openai", token=token)
    assert refused.value.status == 403


def transit_opens_only_with_the_same_associated_data(bao):
    transit, name = unique("transit"), "keyside-acme"
    bao.mount(transit, "transit")
    bao.ask("POST", f"{transit}/keys/{name}", {"type": "aes256-gcm96"})
    plaintext = base64.b64encode(b"a workspace key").decode()
    data, other = (base64.b64encode(text).decode() for text in (b"workspace=acme", b"workspace=other"))

    sealed = {"plaintext": plaintext, "associated_data": data}
    ciphertext = bao.ask("POST", f"{transit}/encrypt/{name}", sealed)["data"]["ciphertext"]
    opened = {"ciphertext": ciphertext, "associated_data": data}
    assert bao.ask("POST", f"{transit}/decrypt/{name}", opened)["data"]["plaintext"] == plaintext
    for wrong in ({"ciphertext": ciphertext, "associated_data": other}, {"ciphertext": ciphertext}):
        with pytest.raises(Refused) as refused:
            bao.ask("POST", f"{transit}/decrypt/{name}", wrong)
        assert refused.value.status in (400, 500)

    # After a rotation old ciphertext still opens, and new ciphertext has the new version.
    bao.ask("POST", f"{transit}/keys/{name}/rotate", {})
    assert bao.ask("POST", f"{transit}/decrypt/{name}", opened)["data"]["plaintext"] == plaintext
    assert bao.ask("POST", f"{transit}/encrypt/{name}", sealed)["data"]["ciphertext"].startswith("vault:v2:")


def a_transit_key_is_not_exportable_and_needs_deletion_to_be_allowed_first(bao):
    transit, name = unique("transit"), "keyside-acme"
    bao.mount(transit, "transit")
    bao.ask("POST", f"{transit}/keys/{name}", {})

    for method, path in (("GET", f"{transit}/export/encryption-key/{name}"), ("DELETE", f"{transit}/keys/{name}")):
        with pytest.raises(Refused):
            bao.ask(method, path)
    bao.ask("POST", f"{transit}/keys/{name}/config", {"deletion_allowed": True})
    bao.ask("DELETE", f"{transit}/keys/{name}")
    with pytest.raises(Refused) as gone:
        bao.ask("GET", f"{transit}/keys/{name}")
    assert gone.value.status == 404


def secrets_survive_a_kill_and_a_seal(mortal_corner):
    bao, key = mortal_corner.bao, mortal_corner.new_key()
    token = bao.new_token(mortal_corner.policy)

    def read():
        return bao.ask("GET", f"{mortal_corner.mount}/data/acme/openai", token=token)["data"]["data"]["api_key"]

    bao.kill()
    with pytest.raises(OSError):
        read()
    bao.start()
    with pytest.raises(Refused) as sealed:
        read()
    assert sealed.value.status == 503
    bao.unseal()
    assert read() == key

    bao.seal()
    with pytest.raises(Refused) as sealed:
        read()
    assert sealed.value.status == 503
    bao.unseal()
    assert read() == key


def every_request_is_in_the_audit_log_without_the_token(corner):
    token = corner.bao.new_token(corner.policy)
    corner.new_key()
    corner.bao.ask("GET", f"{corner.mount}/data/acme/openai", token=token)

    assert corner.audited().count(f"{corner.mount}/data/acme/openai") == 1
    assert token not in (corner.bao.folder / "audit.log").read_text()


@pytest.mark.parametrize("status", [429, 472, 473, 500, 503])
def the_proxy_answers_with_a_status_and_then_lets_through_again(status, corner, before_bao):
    corner.new_key()
    through = corner.bao.at(before_bao.address)
    path = f"{corner.mount}/data/acme/openai"

    before_bao.fault = Fault(status=status)
    with pytest.raises(Refused) as refused:
        through.ask("GET", path)
    before_bao.fault = Fault()
    assert refused.value.status == status
    assert through.ask("GET", path)["data"]["metadata"]["version"] == 1
    assert before_bao.asked.count(path) == 2


def the_proxy_delays_and_cuts_and_hangs(corner, before_bao):
    corner.new_key()
    through = corner.bao.at(before_bao.address)
    hasty = corner.bao.at(before_bao.address, timeout=0.5)
    path = f"{corner.mount}/data/acme/openai"

    before_bao.fault = Fault(delay=0.2)
    begun = time.monotonic()
    through.ask("GET", path)
    assert time.monotonic() - begun > 0.2

    for ill in (Fault(cuts=True), Fault(hangs=True)):
        before_bao.fault = ill
        with pytest.raises((OSError, http.client.HTTPException)):
            hasty.ask("GET", path)

    before_bao.fault = Fault(hangs=True, only="auth/")
    assert through.ask("GET", path)["data"]["metadata"]["version"] == 1


def revoking_what_a_way_of_signing_in_issued_ends_its_tokens(corner):
    for way in ("approle", "jwt", "kubernetes"):
        token = _sign_in(corner.bao, login := corner.login(way), login.mount)["client_token"]
        corner.bao.revoke_all_of(login.mount)
        with pytest.raises(Refused) as refused:
            corner.bao.ask("GET", "auth/token/lookup-self", token=token)
        assert refused.value.status == 403
