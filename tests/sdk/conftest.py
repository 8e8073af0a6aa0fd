"""Fixtures: one aimock per provider, the real keyside in front of them, and canary keys."""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from harness.aimock import Aimock
from harness.calls import Way
from harness.canary import canary
from harness.keyside import Keyside, binary

#: A provider's recognisable key prefix, by the provider's id in Keyside.
PREFIXES = {"openai": "sk-proj-", "azure-openai": "az-", "anthropic": "sk-ant-api03-", "gemini": "AIza"}

#: A program's dummy key; a provider that received it would respond with 401.
DUMMY_KEY = "sk-dummy-goes-nowhere"

#: Workspaces: one whose keys work, one whose keys its providers reject, one whose keys are revoked,
#: one without keys.
GOOD, STALE, RETIRED, EMPTY = "acme", "stale", "retired", "empty"

TAG_FORMS = ("header", "path")


@dataclass(frozen=True)
class Stage:
    """Everything that runs for the suite."""

    providers: dict[str, Aimock]
    keyside: Keyside
    keys: list[str]
    """Every key that was ever stored, whether it works or not."""


@pytest.fixture(scope="session", autouse=True)
def a_clean_environment():
    """Removes the developer's own variables that would configure an SDK or send loopback requests
    to a proxy."""
    sdk_settings = ("OPENAI_", "AZURE_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")
    for name in list(os.environ):
        if name.startswith(sdk_settings) or name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session")
def stage(tmp_path_factory) -> Iterator[Stage]:
    providers: dict[str, Aimock] = {}
    keyside = None
    try:
        for id, prefix in PREFIXES.items():
            providers[id] = Aimock(canary(prefix))
        folder = tmp_path_factory.mktemp("keyside")
        keyside = Keyside(binary(), folder, {id: aimock.url for id, aimock in providers.items()})
        yield Stage(providers, keyside, _store_keys(keyside, providers))
    finally:
        for running in (keyside, *providers.values()):
            if running:
                running.stop()


@pytest.fixture
def keyside(stage) -> Keyside:
    return stage.keyside


@pytest.fixture
def test_id() -> str:
    """Sent as `X-Test-Id`, to find this test's requests in a provider's journal."""
    return uuid.uuid4().hex


@pytest.fixture
def through_keyside(stage, test_id) -> Callable[..., Way]:
    """Points a client at Keyside, with a dummy key and the workspace named in the header or in the
    path."""

    def way(provider: str, workspace: str = GOOD, *, tag="path", headers=None, retries: int | None = None) -> Way:
        headers = {"X-Test-Id": test_id, **(headers or {})}
        if tag == "header":
            headers["X-Keyside-Workspace"] = workspace
            return Way(f"{stage.keyside.proxy}/{provider}", DUMMY_KEY, headers, retries)
        return Way(f"{stage.keyside.proxy}/w/{workspace}/{provider}", DUMMY_KEY, headers, retries)

    return way


@pytest.fixture
def directly(stage) -> Callable[..., Way]:
    """Points a client directly at the provider, with the real key, for comparison."""

    def way(provider: str, *, api_key: str | None = None, retries: int | None = None) -> Way:
        aimock = stage.providers[provider]
        return Way(aimock.url, api_key or aimock.key, retries=retries)

    return way


@pytest.fixture
def arrived(stage, test_id) -> Callable[[str], list[dict]]:
    """This test's requests that reached the provider with its key."""
    return lambda provider: stage.providers[provider].journal(test_id)


def pytest_collection_modifyitems(items):
    """Runs the search for keys after all other tests."""
    items.sort(key=lambda item: item.path.name == "test_canaries.py")


def _store_keys(keyside: Keyside, providers: dict[str, Aimock]) -> list[str]:
    keys = []
    for workspace in (GOOD, STALE, RETIRED, EMPTY):
        keyside.add_workspace(workspace)
    for id, aimock in providers.items():
        stored = {GOOD: aimock.key, STALE: canary(PREFIXES[id]), RETIRED: canary(PREFIXES[id])}
        ids = {workspace: keyside.add_key(workspace, id, key) for workspace, key in stored.items()}
        keyside.revoke(ids[RETIRED])
        keys += stored.values()
    return keys
