"""Settings with one mistake: Keyside's message names the mistake and the remedy."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bao import new_authority
from canaries import secrets_in
from conftest import Corner
from harness.web import eventually
from sidecar import Settings, command, declared, needs, write_settings

pytestmark = needs("proxy")

Arranged = tuple[list[Settings], Settings]


@dataclass(frozen=True)
class Mistake:
    """A mistake, and the words that must be in the message."""

    name: str
    arrange: Callable[[Corner], Arranged]
    names: tuple[str, ...]
    """All must be in the message; `{mount}` and `{folder}` are placeholders."""
    remedy: tuple[str, ...]
    """At least one must be, in lower case: what to change or check."""


def _source(source: Callable[[Corner], str], **more: str) -> Callable[[Corner], Arranged]:
    return lambda corner: ([declared(source(corner), **more)], corner.login().settings)


def _setting(way: str, **wrong: str) -> Callable[[Corner], Arranged]:
    return lambda corner: ([declared(corner.source())], {**corner.login(way).settings, **wrong})


def _another_authority(corner: Corner) -> Arranged:
    (elsewhere := corner.folder / "elsewhere").mkdir()
    ca_file = new_authority(elsewhere).ca_file
    return [declared(corner.source())], {**corner.login().settings, "ca_file": str(ca_file)}


def _ended_token(corner: Corner) -> Arranged:
    login = corner.login("token file")
    corner.bao.revoke(login.file.read_text())
    return [declared(corner.source())], login.settings


def _secret_id_that_was_used(corner: Corner) -> Arranged:
    login = corner.login("wrapped approle")
    corner.bao.ask("PUT", "sys/wrapping/unwrap", {}, token=login.file.read_text())
    return [declared(corner.source())], login.settings


def _version_1_with_the_path_of_version_2(corner: Corner) -> Arranged:
    older = Corner(corner.bao, corner.folder, corner.issuers, corner.canaries, version=1)
    older.new_key()
    source = f"vault:{older.mount}/data/acme/openai#api_key"
    return [declared(source)], older.login().settings


def _number(corner: Corner) -> Arranged:
    corner.bao.ask("POST", f"{corner.mount}/data/acme/openai", {"data": {"api_key": 12345678}})
    return [declared(corner.source())], corner.login().settings


def _file(make: Callable) -> Callable[[Corner], Arranged]:
    def arrange(corner: Corner) -> Arranged:
        make(corner.folder / "openai")
        return [declared(f"file:{corner.folder}/openai")], corner.login().settings

    return arrange


def _unreadable(file):
    file.write_text("sk-proj-unreadable")
    os.chmod(file, 0)


IN_VAULT = "{mount}/acme/openai"
FILE = "{folder}/openai"

MISTAKES = [
    Mistake(
        "mount",
        _source(lambda corner: "vault:no-such-mount/acme/openai#api_key"),
        ("no-such-mount/acme/openai",),
        ("mount", "policy"),
    ),
    Mistake(
        "stated mount",
        _source(lambda corner: corner.source(), mount="teams"),
        (IN_VAULT,),
        ("mount", "policy"),
    ),
    Mistake(
        "path",
        _source(lambda corner: corner.source("acme/opneai")),
        ("{mount}/acme/opneai",),
        ("write", "store", "put", "create", "correct", "check"),
    ),
    Mistake(
        "path that the policy forbids",
        lambda corner: (corner.allow("other/*"), ([declared(corner.source())], corner.login().settings))[1],
        (IN_VAULT,),
        ("policy",),
    ),
    Mistake("field", _source(lambda corner: corner.source(field="apikey")), (IN_VAULT, "apikey"), ("field",)),
    Mistake("number in the field", _number, (IN_VAULT, "api_key"), ("text", "string")),
    # Version 2's API has `data/` in its paths; Vault's CLI and `source` do not.
    Mistake(
        "path with data/",
        _source(lambda corner: f"vault:{corner.mount}/data/acme/openai#api_key"),
        ("{mount}/data/acme/openai",),
        ("without", "leave out", "remove"),
    ),
    Mistake(
        "KV v1 with data/",
        _version_1_with_the_path_of_version_2,
        ("/data/acme/openai",),
        ("without", "leave out", "remove"),
    ),
    Mistake("role", _setting("jwt", role="no-such-role"), ("vault.role",), ("role",)),
    Mistake("role id", _setting("approle", role_id="no-such-role"), ("vault.role_id",), ("secret id", "secret_id")),
    Mistake("auth mount", _setting("jwt", auth_mount="nowhere"), ("vault.auth_mount",), ("mount", "enable")),
    Mistake("secret id that was unwrapped before", _secret_id_that_was_used, ("vault.secret_id_file",), ("wrap",)),
    Mistake(
        "no file with the secret id",
        _setting("approle", secret_id_file="nowhere"),
        ("vault.secret_id_file", "nowhere"),
        ("file",),
    ),
    Mistake("authority", _another_authority, ("vault.ca_file",), ("certificate", "authority")),
    Mistake("no authority", _setting("approle", ca_file="nowhere.pem"), ("vault.ca_file", "nowhere.pem"), ("file",)),
    Mistake("namespace", _setting("approle", namespace="nowhere"), ("vault.namespace",), ("namespace",)),
    Mistake("ended token", _ended_token, ("vault.token_file",), ("token",)),
    Mistake("no file", _file(lambda file: None), (FILE,), ("create", "write", "mount", "correct", "check")),
    Mistake("folder for a file", _file(lambda file: file.mkdir()), (FILE,), ("folder", "directory")),
    Mistake("unreadable file", _file(_unreadable), (FILE,), ("permission", "readable", "chmod", "chown")),
    Mistake("empty file", _file(lambda file: file.touch()), (FILE,), ("empty",)),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def a_mistake_is_named_with_its_setting_and_remedy(mistake, corner, folder, start):
    corner.new_key()
    credentials, vault = mistake.arrange(corner)
    names = [name.format(mount=corner.mount, folder=folder) for name in mistake.names]

    sidecar = start(credentials, vault, ordinary=True)

    def complete(said: str) -> bool:
        return all(name in said for name in names) and any(word in said.lower() for word in mistake.remedy)

    # Some mistakes are found before anything listens; then the process reports them and exits,
    # without a `/readyz`.
    assert eventually(lambda: complete(sidecar.readiness()[1]) or sidecar.ended is not None), (
        f"/readyz says {sidecar.readiness()}, which lacks {names} or all of {mistake.remedy}"
    )
    if sidecar.ended is None:
        assert sidecar.ask().status in (401, 503)
    else:
        assert sidecar.ended in (1, 78)
    # The log is written asynchronously.
    explained = eventually(lambda: any(map(complete, sidecar.log().splitlines())))
    assert explained, f"no line of the log has {names} and one of {mistake.remedy}"


#: The doctor leaves a wrapped secret id to Keyside: it works only once.
SEEN_BY_THE_DOCTOR = [mistake for mistake in MISTAKES if mistake.name != "secret id that was unwrapped before"]


@needs("doctor")
@pytest.mark.parametrize("mistake", SEEN_BY_THE_DOCTOR, ids=lambda mistake: mistake.name)
def the_doctor_names_a_mistake_with_its_setting_and_remedy(mistake, corner, folder, provider, canaries):
    corner.new_key()
    credentials, vault = mistake.arrange(corner)
    settings = write_settings(folder, provider.url, credentials, vault)
    done = command("doctor", "--json", "--config", str(settings), cwd=folder, ordinary=True)

    assert done.returncode in (1, 78), done.stdout
    found = json.loads(done.stdout or "[]")
    failed = [f"{one['message']} {one['fix'] or ''}" for one in found if one["state"] == "fail"]
    names = [name.format(mount=corner.mount, folder=folder) for name in mistake.names]
    explained = [
        said
        for said in [*failed, *done.stderr.splitlines()]
        if all(name in said for name in names) and any(word in said.lower() for word in mistake.remedy)
    ]
    assert explained, (failed, done.stderr)
    assert [*secrets_in(done.stdout + done.stderr, canaries)] == []


@needs("doctor")
def the_doctor_finds_no_fault_where_there_is_none(corner, folder, provider):
    provider.good = {corner.new_key()}
    settings = write_settings(folder, provider.url, [declared(corner.source())], corner.login().settings)
    done = command("doctor", "--json", "--config", str(settings), cwd=folder)

    assert done.returncode == 0, done.stdout
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert {one["state"] for one in found.values()} == {"ok"}, found
    assert corner.bao.address in found["vault"]["message"]
    assert "the token is valid for" in found["vault sign-in"]["message"]
    assert f"in KV version 2 at {corner.mount}" in found["credential acme/openai/main"]["message"]


def a_mistake_in_vault_can_be_fixed_without_a_restart(corner, start, provider):
    """If the mistake is in Vault and not in the settings, Keyside polls again."""
    login = corner.login()
    sidecar = start(corner.source(), login).is_up()
    assert eventually(lambda: f"{corner.mount}/acme/openai" in sidecar.readiness()[1])

    provider.good = {corner.new_key()}
    assert sidecar.serves()
    assert eventually(lambda: f"{corner.mount}/acme/openai" not in sidecar.readiness()[1])
