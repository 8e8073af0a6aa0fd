"""Keys in KV v1 and v2: found, updated when they change, and refused when they are gone."""

import pytest

from bao import unique
from conftest import Corner
from harness.web import eventually
from sidecar import GONE, SOON, declared, needs
from slow import Fault

pytestmark = needs("proxy")


@pytest.fixture(params=[1, 2], ids=["KV v1", "KV v2"])
def versioned(request, bao, folder, issuers, canaries) -> Corner:
    return Corner(bao, folder, issuers, canaries, version=request.param)


def a_key_is_read(versioned, start, provider):
    provider.good = {versioned.new_key()}

    assert start(versioned.source(), versioned.login()).becomes_ready().ask().status == 200
    assert set(provider.seen) == provider.good


def the_mount_can_be_configured_if_vault_does_not_reveal_it(versioned, start, provider, before_bao):
    before_bao.fault = Fault(status=403, only="sys/internal/ui/mounts")
    provider.good = {versioned.new_key()}
    credential = declared(versioned.source(), mount=versioned.mount)
    sidecar = start([credential], versioned.login().at(before_bao.address)).becomes_ready()

    assert sidecar.ask().status == 200


def a_field_with_an_unusual_name_is_read(corner, start, provider):
    key = corner.new_key(**{"OpenAI key": "replaced"})
    corner.bao.ask("POST", f"{corner.mount}/data/acme/openai", {"data": {"OpenAI key": key, "number": 7}})
    provider.good = {key}

    assert start(corner.source(field="OpenAI key"), corner.login()).becomes_ready().ask().status == 200


def a_changed_key_is_used_within_its_poll_and_no_request_fails(versioned, start, provider):
    old = versioned.new_key()
    provider.good = {old}
    sidecar = start(versioned.source(), versioned.login()).becomes_ready()

    with sidecar.load() as load:
        assert provider.saw(old, within=SOON)
        for _ in range(3):
            new = versioned.new_key()
            provider.good.add(new)
            assert provider.saw(new, within=SOON), "the changed key was not used in time"
    load.assert_nobody_noticed()

    provider.seen.clear()
    assert sidecar.ask().status == 200
    assert provider.seen == [new]


def a_deleted_key_is_refused_and_a_new_one_is_used(versioned, start, provider):
    provider.good = {versioned.new_key()}
    sidecar = start(versioned.source(), versioned.login()).becomes_ready()
    assert sidecar.ask().status == 200

    path = f"{versioned.mount}/data/acme/openai" if versioned.version == 2 else f"{versioned.mount}/acme/openai"
    versioned.bao.ask("DELETE", path)
    assert sidecar.refuses(GONE), sidecar.ask()
    _assert_the_page_says_which(sidecar, versioned)

    provider.good = {versioned.new_key()}
    assert sidecar.serves()


def a_destroyed_version_is_refused(corner, start, provider):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login()).becomes_ready()
    assert sidecar.ask().status == 200

    corner.bao.ask("PUT", f"{corner.mount}/destroy/acme/openai", {"versions": [1]})
    assert sidecar.refuses(GONE), sidecar.ask()


def a_deleted_version_that_is_undeleted_serves_again(corner, start, provider):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login()).becomes_ready()
    corner.bao.ask("DELETE", f"{corner.mount}/data/acme/openai")
    assert sidecar.refuses(GONE)

    corner.bao.ask("POST", f"{corner.mount}/undelete/acme/openai", {"versions": [1]})
    assert sidecar.serves()


def a_secret_deleted_with_its_metadata_is_refused(corner, start, provider):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login()).becomes_ready()
    assert sidecar.ask().status == 200

    corner.bao.ask("DELETE", f"{corner.mount}/metadata/acme/openai")
    assert sidecar.refuses(GONE), sidecar.ask()


def a_secret_written_again_after_its_metadata_was_deleted_is_used_although_its_version_is_1_again(
    corner, start, provider
):
    """A tool that replaces a secret does both between two polls."""
    provider.good = {corner.new_key()}
    login = corner.login()
    login.settings["poll"] = "2s"
    sidecar = start(corner.source(), login).becomes_ready()
    assert sidecar.ask().status == 200

    for _ in range(2):
        corner.bao.ask("DELETE", f"{corner.mount}/metadata/acme/openai")
        provider.good = {corner.new_key()}
        assert sidecar.serves(within=2 + SOON), sidecar.readiness()


def a_path_that_the_policy_no_longer_allows_is_refused_and_the_others_serve(corner, start, provider):
    provider.good = {corner.new_key(), corner.new_key("other/openai")}
    credentials = [declared(corner.source()), declared(corner.source("other/openai"), workspace="other")]
    sidecar = start(credentials, corner.login()).becomes_ready()
    assert sidecar.ask().status == sidecar.ask("other").status == 200

    corner.allow("other/*")
    with sidecar.load("other") as load:
        assert sidecar.refuses(GONE), sidecar.ask()
    load.assert_nobody_noticed()
    _assert_the_page_says_which(sidecar, corner)

    corner.allow("*")
    assert sidecar.serves()


def an_unmounted_engine_is_refused(corner, start, provider):
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login()).becomes_ready()
    assert sidecar.ask().status == 200

    corner.bao.ask("DELETE", f"sys/mounts/{corner.mount}")
    assert sidecar.refuses(GONE), sidecar.ask()


def a_missing_secret_refuses_what_needs_it_and_nothing_else(corner, start, provider):
    provider.good = {corner.new_key()}
    credentials = [declared(corner.source()), declared(corner.source("missing/openai"), workspace="missing")]
    sidecar = start(credentials, corner.login()).becomes_ready()

    assert sidecar.ask().status == 200
    assert sidecar.ask("missing").refusal in GONE
    assert f"{corner.mount}/missing/openai" in sidecar.readiness()[1]
    assert eventually(lambda: f"{corner.mount}/missing/openai" in sidecar.log())


def two_labels_of_one_secret_have_each_its_field(corner, start, provider):
    path, (batch, chat) = unique("acme"), (corner.new_key(), corner.new_key())
    corner.bao.ask("POST", f"{corner.mount}/data/{path}", {"data": {"batch": batch, "chat": chat}})
    provider.good = {batch, chat}
    credentials = [
        declared(corner.source(path, "batch"), label="batch"),
        declared(corner.source(path, "chat"), label="chat"),
    ]
    sidecar = start(credentials, corner.login()).becomes_ready()

    assert sidecar.ask(label="batch").status == sidecar.ask(label="chat").status == 200
    assert provider.seen == [batch, chat]


def _assert_the_page_says_which(sidecar, corner: Corner):
    """The details of `/readyz` and the log name the secret."""
    assert f"{corner.mount}/acme/openai" in sidecar.readiness()[1]
    # The log is written asynchronously.
    assert eventually(lambda: f"{corner.mount}/acme/openai" in sidecar.log())
