"""`keyside vault policy`: exactly the permissions that the settings need."""

import pytest

from bao import Refused
from conftest import Corner
from harness.web import eventually
from sidecar import SOON, command, declared, needs, write_settings

pytestmark = needs("vault")


@pytest.fixture
def printed(corner, folder, provider) -> str:
    """The policy for one key of the mount, written under the name in the test's tokens."""
    provider.good = {corner.new_key()}
    corner.new_key("other/openai")
    credential = declared(corner.source(), mount=corner.mount)
    settings = write_settings(folder, provider.url, [credential], corner.login().settings)
    done = command("vault", "policy", "--config", str(settings), cwd=folder)
    assert done.returncode == 0, done.stderr
    corner.bao.write_policy(corner.policy, done.stdout)
    return done.stdout


def a_sidecar_starts_follows_and_renews_with_nothing_but_it(printed, corner, start, provider):
    login = corner.login(token_no_default_policy=True, token_ttl="3s", token_max_ttl="1h")
    sidecar = start([declared(corner.source(), mount=corner.mount)], login).becomes_ready()
    assert sidecar.ask().status == 200

    with sidecar.load() as load:
        assert eventually(lambda: corner.audited().count("auth/token/renew-self") >= 1)
        following = corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=SOON)
    load.assert_nobody_noticed()
    assert corner.audited(refused=True) == [], "the policy lacks something"


def nothing_else_can_be_read_with_it(printed, corner):
    token = corner.bao.new_token(corner.policy)
    mount = corner.mount
    corner.bao.ask("GET", f"{mount}/data/acme/openai", token=token)

    for method, path in [
        ("GET", f"{mount}/data/other/openai"),
        ("GET", f"{mount}/metadata/other/openai"),
        ("GET", f"{mount}/data/acme/openai2"),
        ("GET", f"{mount}/data/acme/openai/below"),
        ("LIST", f"{mount}/metadata"),
        ("LIST", f"{mount}/metadata/acme"),
        ("GET", f"{mount}/config"),
        ("POST", f"{mount}/data/acme/openai"),
        ("DELETE", f"{mount}/data/acme/openai"),
        ("DELETE", f"{mount}/metadata/acme/openai"),
        ("GET", "sys/mounts"),
        ("GET", "sys/auth"),
        ("GET", "sys/policies/acl"),
        ("POST", "auth/token/create"),
    ]:
        with pytest.raises(Refused) as refused:
            corner.bao.ask(method, path, {"data": {}} if method == "POST" else None, token=token)
        assert refused.value.status == 403, path


def it_names_each_path_and_no_pattern(printed, corner):
    paths = [line.split('"')[1] for line in printed.splitlines() if line.lstrip().startswith("path ")]
    assert f"{corner.mount}/data/acme/openai" in paths
    assert not [path for path in paths if "*" in path or "+" in path]


def in_kv_version_1_it_names_the_path_of_version_1_although_the_settings_state_the_mount(
    bao, folder, issuers, canaries, provider, start
):
    corner = Corner(bao, folder, issuers, canaries, version=1)
    provider.good = {corner.new_key()}
    credential = declared(corner.source(), mount=corner.mount)
    settings = write_settings(folder, provider.url, [credential], corner.login().settings)
    done = command("vault", "policy", "--config", str(settings), cwd=folder)
    assert f'path "{corner.mount}/acme/openai"' in done.stdout, done.stdout + done.stderr

    corner.bao.write_policy(corner.policy, done.stdout)
    assert start([credential], corner.login()).becomes_ready().ask().status == 200


def the_same_settings_give_the_same_policy(printed, folder):
    again = command("vault", "policy", "--config", "keyside.toml", cwd=folder)
    assert again.stdout == printed


def it_needs_no_vault_that_answers(corner, folder, provider):
    login = corner.login().at("https://127.0.0.1:1")
    settings = write_settings(folder, provider.url, [declared(corner.source(), mount=corner.mount)], login)
    done = command("vault", "policy", "--config", str(settings), cwd=folder)

    assert done.returncode == 0, done.stderr
    assert f"{corner.mount}/data/acme/openai" in done.stdout
