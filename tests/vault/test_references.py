"""`secretRef`: keys that `keyside serve` stores by reference stay in OpenBao, and are updated from
there."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bao import Bao, Refused
from canaries import secrets_in
from conftest import Corner
from harness.keyside import Keyside, binary
from harness.web import PATIENCE, eventually, fetch
from sidecar import A_WHILE, AT_ONCE, GONE, SOON, Answer, Runner, Settings, command
from slow import Fault

CREDENTIALS = "/api/integrations/credentials"


@dataclass
class Authority:
    """A running `keyside serve` whose workspaces may each name secrets in their own folder."""

    keyside: Keyside
    corner: Corner

    def path(self, rest: str = "acme/openai") -> str:
        return f"{self.corner.mount}/{rest}"

    def try_add(self, path: str, workspace: str = "acme", **more) -> tuple[int, dict]:
        reference = {"path": path, "field": "api_key", **more}
        body = {"workspaceId": workspace, "provider": "openai", "label": "main", "secretRef": reference}
        status, answer = self.keyside.try_admin(CREDENTIALS, body=body)
        return status, json.loads(answer)

    def add(self, path: str = "", workspace: str = "acme") -> str:
        """The id of a key that is stored by reference."""
        status, answer = self.try_add(path or self.path(), workspace)
        assert status == 201, answer
        return answer["id"]

    def show(self, id: str) -> dict:
        return json.loads(self.keyside.ask_admin(f"{CREDENTIALS}/{id}"))

    def refresh(self, id: str) -> dict:
        return json.loads(self.keyside.ask_admin(f"{CREDENTIALS}/{id}/refresh", body={}, method="POST"))

    def told(self, event: str) -> list[dict]:
        """The audit records of this event, oldest first."""
        page = json.loads(self.keyside.ask_admin(f"/api/audit?event={event}"))
        return page["items"][::-1]

    def ask(self, workspace: str = "acme") -> Answer:
        with Runner(int(self.keyside.proxy.rpartition(":")[2]), workspace) as runner:
            return runner.ask()

    def serves(self, within: float = SOON) -> bool:
        return eventually(lambda: self.ask().status == 200, within)

    def refuses(self, within: float = SOON) -> bool:
        return eventually(lambda: self.ask().refusal in GONE, within)


def _settings(corner: Corner, address: str = "", **vault: str) -> dict[str, Settings]:
    settings = {**corner.login().settings, **vault}
    if address:
        settings["address"] = address
    return {"vault": settings, "vault.references": {"allow": [f"{corner.mount}/{{workspace}}/"]}}


@pytest.fixture
def start_serve(folder, provider, canaries) -> Iterator[Callable[..., Authority]]:
    """Starts `keyside serve`, with the same folder each time. At the end, searches all its output.
    """
    running: list[Keyside] = []

    def start_serve(corner: Corner, *workspaces: str, address: str = "", **vault: str) -> Authority:
        tables = _settings(corner, address, **vault)
        keyside = Keyside(binary(), folder, {"openai": provider.url}, tables)
        running.append(keyside)
        for workspace in workspaces:
            keyside.add_workspace(workspace)
        return Authority(keyside, corner)

    yield start_serve
    written = []
    for keyside in running:
        keyside.stop()
        written += [output.everything() for output in keyside.outputs.values()]
    written += [file.read_bytes() for file in (folder / "data").rglob("*") if file.is_file()]
    assert [found for content in written for found in secrets_in(content.decode("latin-1"), canaries)] == []


@pytest.fixture
def authority(corner, start_serve) -> Authority:
    return start_serve(corner, "acme", "globex")


def a_request_is_answered_with_the_secret_in_vault_and_the_list_says_where_it_is(authority, corner, provider):
    key = corner.new_key()
    provider.good = {key}
    id = authority.add()

    assert authority.ask().status == 200
    assert provider.seen == [key]
    shown = authority.show(id)
    assert shown["source"] == f"vault:{authority.path()}#api_key"
    assert shown["sourceVersion"] == "1"
    assert shown["versions"][0]["sourceVersion"] == "1"
    assert shown["secretRef"]["path"] == authority.path()
    for arguments in (["key", "list"], ["key", "show", id]):
        said = authority.keyside.command(*arguments)
        assert f"vault:{authority.path()}#api_key" in said, said
        assert "version 1" in said, said


def a_new_version_is_used_within_its_poll_and_is_on_record_once(authority, corner, provider):
    provider.good = {corner.new_key()}
    id = authority.add()
    assert authority.ask().status == 200
    assert authority.told("credential_source_changed") == [], "a creation is not such a change"

    new = corner.new_key()
    provider.good.add(new)
    assert eventually(lambda: authority.ask().status == 200 and new in provider.seen, within=SOON)
    assert eventually(lambda: authority.show(id)["sourceVersion"] == "2", within=SOON)
    assert eventually(lambda: len(authority.told("credential_source_changed")) == 1, within=SOON)
    authority.refresh(id)
    authority.refresh(id)
    (record,) = authority.told("credential_source_changed")
    assert record["note"] == f"vault:{authority.path()}#api_key, version 2"
    assert (record["actor"], record["credentialId"], record["workspaceId"]) == ("system", id, "acme")
    assert record["fingerprint"] == authority.show(id)["fingerprint"]


def a_refresh_uses_a_new_version_at_once(corner, start_serve, provider):
    authority = start_serve(corner, "acme", poll="1h")
    provider.good = {corner.new_key()}
    id = authority.add()

    new = corner.new_key()
    provider.good.add(new)
    assert authority.refresh(id)["sourceVersion"] == "2"
    assert authority.ask().status == 200
    assert provider.seen[-1] == new
    assert len(authority.told("credential_source_changed")) == 1


def a_rotation_is_refused_with_the_reason(authority, corner):
    corner.new_key()
    id = authority.add()
    change, headers = {"secret": "sk-proj-not-to-be-stored-0123456789"}, {"If-Match": "*"}
    status, answer = authority.keyside.try_admin(f"{CREDENTIALS}/{id}", body=change, method="PATCH", headers=headers)

    problem = json.loads(answer)
    assert status == 409
    assert problem["type"].endswith("kept-in-vault"), problem
    assert authority.path() in answer.decode()
    assert authority.show(id)["sourceVersion"] == "1"


@pytest.mark.parametrize("way", ["deleted", "forbidden"])
def a_secret_that_is_gone_is_refused_and_on_record_once(way, authority, corner, provider):
    provider.good = {corner.new_key()}
    id = authority.add()
    assert authority.ask().status == 200

    if way == "deleted":
        corner.bao.ask("DELETE", f"{corner.mount}/data/acme/openai")
    else:
        corner.allow("other/*")
    assert authority.refuses(), authority.ask()
    assert eventually(lambda: len(authority.told("credential_source_lost")) == 1, within=SOON)
    authority.refresh(id)
    (record,) = authority.told("credential_source_lost")
    assert authority.path() in record["note"]
    assert authority.path() in authority.show(id)["sourceFault"]
    assert authority.path() in fetch(f"{authority.keyside.observe}/readyz")[1].decode()

    if way == "deleted":
        corner.bao.ask("POST", f"{corner.mount}/undelete/acme/openai", {"versions": [1]})
    else:
        corner.allow("*")
    assert authority.serves()
    assert eventually(lambda: len(authority.told("credential_source_changed")) == 1, within=SOON)


def a_revoked_key_is_refused_and_not_polled(authority, corner, provider):
    provider.good = {corner.new_key()}
    id = authority.add()
    assert authority.ask().status == 200

    authority.keyside.revoke(id)
    refused = authority.ask()
    assert refused.refusal == ("credential_revoked", 401), refused
    corner.new_key()
    asked = len(corner.audited())
    assert not eventually(lambda: len(corner.audited()) > asked + 1, within=A_WHILE), "it is still followed"
    assert authority.show(id)["status"] == "revoked"


def a_key_can_be_revoked_while_vault_is_down(corner, start_serve, provider, before_bao):
    provider.good = {corner.new_key()}
    authority = start_serve(corner, "acme", address=before_bao.address, timeout="1s")
    id = authority.add()
    before_bao.fault = Fault(hangs=True)
    assert authority.ask().status == 200, "a warm key serves"

    authority.keyside.revoke(id)
    assert authority.ask().refusal == ("credential_revoked", 401)


def a_restart_reads_it_again_and_puts_nothing_on_record(authority, corner, provider, start_serve):
    provider.good = {corner.new_key()}
    authority.add()
    authority.keyside.stop()

    again = start_serve(corner)
    assert again.ask().status == 200
    again.keyside.stop()
    provider.good.add(corner.new_key())
    third = start_serve(corner)
    assert third.serves()
    assert eventually(lambda: len(third.told("credential_source_changed")) == 1, within=SOON)


def a_start_without_vault_refuses_unread_keys_and_recovers(corner, start_serve, provider, before_bao):
    provider.good = {corner.new_key()}
    authority = start_serve(corner, "acme", address=before_bao.address, timeout="1s")
    authority.add()
    authority.keyside.stop()

    before_bao.fault = Fault(hangs=True)
    again = start_serve(corner, address=before_bao.address, timeout="1s")
    cold = again.ask()
    assert cold.refusal == ("store_unavailable", 503), cold
    assert cold.seconds < AT_ONCE
    before_bao.fault = Fault()
    assert again.serves(within=PATIENCE)


@pytest.mark.parametrize(
    "path",
    [
        "{mount}/globex/openai",
        "{mount}/acme-2/openai",
        "{mount}/acme",
        "{mount}/acme/",
        "{mount}/acme/../globex/openai",
        "{mount}/acme/%2e%2e/globex/openai",
        "{mount}/acme/..%2fglobex/openai",
        "{mount}/acme//openai",
        "{mount}//acme/openai",
        "/{mount}/acme/openai",
        "{mount}/./acme/openai",
        "{mount}/data/acme/openai",
        "{mount}/metadata/acme/openai",
        "{mount}/acme/openai?version=1",
        "{mount}/acme/openai#api_key",
        "{mount}/acme\\..\\globex/openai",
        "{mount}/ACME/openai",
        "{mount}/+/openai",
        "sys/policies/acl",
        "",
    ],
)
def a_path_outside_the_workspace_s_prefix_is_not_requested_from_vault(path, authority, corner):
    for rest in ("globex/openai", "acme-2/openai", "acme/openai", "data/acme/openai"):
        corner.new_key(rest)
    status, answer = authority.try_add(path.format(mount=corner.mount))

    assert status == 422, answer
    assert "secretRef" in json.dumps(answer)
    assert not [asked for asked in corner.audited() if not asked.startswith("auth/")]


@pytest.mark.parametrize("mount", ["{mount}/globex", "{mount}/acme/../globex", "sys", "{mount}/acme"])
def a_mount_leads_out_of_the_prefix_no_more_than_a_path_does(mount, authority, corner):
    corner.new_key("globex/openai")
    status, answer = authority.try_add("openai", mount=mount.format(mount=corner.mount))
    assert status == 422, answer


def a_workspace_cannot_name_what_another_may(authority, corner, provider):
    key = corner.new_key("globex/openai")
    assert authority.try_add(authority.path("globex/openai"), "acme")[0] == 422
    authority.add(authority.path("globex/openai"), "globex")
    provider.good = {key}
    assert authority.ask("globex").status == 200
    assert authority.ask("acme").status != 200


@pytest.mark.parametrize("workspace", ["data", "metadata", "subkeys"])
@pytest.mark.parametrize("hidden", [False, True], ids=["told", "hidden"])
def a_workspace_named_like_a_part_of_the_api_reads_only_its_own_folder(
    hidden, workspace, corner, start_serve, provider, before_bao
):
    """In the API of KV version 2 the secret `globex/openai` is at `data/globex/openai`."""
    foreign = corner.new_key("globex/openai")
    corner.bao.ask("POST", f"{corner.mount}/metadata/globex/openai", {"custom_metadata": {"api_key": foreign}})
    authority = start_serve(corner, workspace, address=before_bao.address)
    if hidden:
        before_bao.fault = Fault(status=403, only="sys/internal/ui/mounts")

    path = authority.path(f"{workspace}/globex/openai")
    for field in ("api_key", "data", "created_time", "updated_time"):
        for mount in (None, corner.mount, f"{corner.mount}/{workspace}"):
            status, answer = authority.try_add(path, workspace, field=field, mount=mount)
            assert status == 422, (field, mount, answer)
            assert foreign not in json.dumps(answer)

    own = corner.new_key(f"{workspace}/openai")
    provider.good = {own}
    status, answer = authority.try_add(authority.path(f"{workspace}/openai"), workspace, mount=corner.mount)
    assert status == 201, answer
    assert authority.ask(workspace).status == 200
    assert set(provider.seen) == {own}


# `keyside vault policy`


@pytest.fixture
def printed(corner, folder, provider, start_serve) -> str:
    """The policy for the prefix, written under the name in the test's tokens."""
    authority = start_serve(corner)
    done = command("vault", "policy", "--config", "keyside.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    authority.keyside.stop()
    corner.bao.write_policy(corner.policy, done.stdout)
    return done.stdout


def the_printed_policy_is_enough_to_add_and_update_keys(printed, corner, start_serve, provider):
    provider.good = {corner.new_key()}
    before = len(corner.audited(refused=True))
    authority = start_serve(corner, "acme")
    id = authority.add()
    assert authority.ask().status == 200
    provider.good.add(corner.new_key())
    assert eventually(lambda: authority.show(id)["sourceVersion"] == "2", within=SOON)
    assert authority.ask().status == 200
    assert corner.audited(refused=True)[before:] == [], "the policy lacks something"


def nothing_but_what_the_prefix_permits_can_be_read_with_it(printed, corner):
    bao: Bao = corner.bao
    for path in ("acme/openai", "openai"):
        corner.new_key(path)
    token, mount = bao.new_token(corner.policy), corner.mount
    bao.ask("GET", f"{mount}/data/acme/openai", token=token)
    bao.ask("GET", f"{mount}/metadata/acme/openai", token=token)

    for method, path in [
        ("GET", f"{mount}/data/openai"),
        ("GET", f"{mount}/metadata/openai"),
        ("GET", f"{mount}/subkeys/acme/openai"),
        ("GET", f"{mount}/config"),
        ("LIST", f"{mount}/metadata"),
        ("LIST", f"{mount}/metadata/acme"),
        ("POST", f"{mount}/data/acme/openai"),
        ("DELETE", f"{mount}/data/acme/openai"),
        ("PUT", f"{mount}/destroy/acme/openai"),
        ("GET", "sys/mounts"),
        ("GET", "sys/policies/acl"),
        ("POST", "auth/token/create"),
    ]:
        with pytest.raises(Refused) as refused:
            bao.ask(method, path, {"data": {}} if method in ("POST", "PUT") else None, token=token)
        assert refused.value.status == 403, path


def the_policy_of_serve_has_the_prefix_and_the_sidecar_s_does_not(printed, corner, folder):
    paths = [line.split('"')[1] for line in printed.splitlines() if line.startswith("path ")]
    assert f"{corner.mount}/data/+/*" in paths
    assert f"{corner.mount}/metadata/+/*" in paths
    done = _policy(folder, "--role", "sidecar")
    assert corner.mount not in done.stdout


def _policy(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return command("vault", "policy", *arguments, "--config", "keyside.toml", cwd=folder)
