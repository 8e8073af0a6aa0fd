"""Nothing leaves the machine while aimock replaces the providers."""

import os
from pathlib import Path

import pytest

from contract import Provider
from exchange import ask
from harness.canary import canary, leaks
from harness.keyside import Keyside, binary
from sentinel import Sentinel
from stage import WORKSPACES


def the_sentinel_sees_and_refuses_what_would_leave(tmp_path):
    sentinel, key = Sentinel(), canary("sk-proj-")
    keyside = Keyside(binary(), tmp_path, {}, {"egress": {"proxy": sentinel.url}})
    try:
        keyside.add_workspace("acme")
        keyside.add_key("acme", "openai", key)
        answer = ask(f"{keyside.proxy}/w/acme/openai/v1/models", "GET", {}, None)
    finally:
        keyside.stop()
        sentinel.stop()

    assert answer.status == 502
    assert sentinel.targets == ["CONNECT api.openai.com:443 HTTP/1.1"]
    assert leaks(key, b"".join(sentinel.heads)) == []


def every_provider_is_replaced(stage):
    known = {file.stem for file in (Path(__file__).parents[2] / "config/providers").glob("*.toml")}
    assert known == set(stage.relays), "one file in providers/ for each in config/providers/"
    settings = (stage.folder / "keyside.toml").read_text()
    assert settings.count("base_url = ") == settings.count('base_url = "http://127.0.0.1:') == len(known)


def the_sentinel_has_seen_nothing(stage):
    """Runs after the contracts; makes a request of each provider for when it runs alone."""
    for provider in stage.providers:
        _touch(stage, provider)
    assert stage.sentinel.targets == []


@pytest.mark.skipif(
    os.environ.get("KEYSIDE_CONTRACT_ISOLATED") != "1", reason="this system cannot make a network namespace"
)
def the_suite_has_no_network_but_loopback():
    interfaces = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines() if ":" in line]
    assert interfaces == ["lo"]


def _touch(stage, provider: Provider):
    interaction = next(one for one in provider.interactions(live=False) if not one.socket)
    origin = f"{stage.keyside.proxy}/w/{WORKSPACES['good']}/{provider.id}"
    ask(f"{origin}{interaction.path}", interaction.method, {}, interaction.body)
