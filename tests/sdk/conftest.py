"""The stage: one aimock a provider, the real keyside in front of them all, and keys that can be searched for."""

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

#: What a program is given in place of a key; were it to reach a provider, that would answer 401.
DUMMY_KEY = "sk-dummy-goes-nowhere"

#: Workspaces: one whose keys work, one whose keys its providers reject, one whose keys are revoked, one without keys.
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
    """What is set for the person at the keyboard neither configures an SDK nor sends loopback requests elsewhere."""
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
    """Sent as `X-Test-Id`, it finds this test's requests in the journal of a provider."""
    return uuid.uuid4().hex


@pytest.fixture
def through_keyside(stage, test_id) -> Callable[..., Way]:
    """Points a client at Keyside, with a dummy key and the workspace named in the header or in the path."""

    def way(provider: str, workspace: str = GOOD, *, tag="path", headers=None, retries: int | None = None) -> Way:
        headers = {"X-Test-Id": test_id, **(headers or {})}
        if tag == "header":
            headers["X-Keyside-Workspace"] = workspace
            return Way(f"{stage.keyside.proxy}/{provider}", DUMMY_KEY, headers, retries)
        return Way(f"{stage.keyside.proxy}/w/{workspace}/{provider}", DUMMY_KEY, headers, retries)

    return way


@pytest.fixture
def directly(stage) -> Callable[..., Way]:
    """Points a client at the provider itself, with the real key: what Keyside must not make a difference to."""

    def way(provider: str, *, api_key: str | None = None, retries: int | None = None) -> Way:
        aimock = stage.providers[provider]
        return Way(aimock.url, api_key or aimock.key, retries=retries)

    return way


@pytest.fixture
def arrived(stage, test_id) -> Callable[[str], list[dict]]:
    """This test's requests that reached the provider with its key."""
    return lambda provider: stage.providers[provider].journal(test_id)


def pytest_collection_modifyitems(items):
    """The search for keys comes after everything that could have let one out."""
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
