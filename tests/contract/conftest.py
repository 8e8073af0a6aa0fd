"""Fixtures: the stage, and the interactions of all contracts as parameters."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("contract", "exchange", "stage")

from contract import every_provider  # noqa: E402
from stage import Mode, Stage, mode  # noqa: E402

pytest_plugins = ["harness.skipped"]

MODE = mode()
PROVIDERS = every_provider()


def pytest_configure(config):
    unknown = set(MODE.expected) - {provider.id for provider in PROVIDERS if provider.interactions(live=True)}
    if unknown:
        pytest.exit(f"KEYSIDE_CONTRACT_EXPECT has no contract for {', '.join(sorted(unknown))}", returncode=1)
    if MODE.expected and not MODE.live:
        pytest.exit("KEYSIDE_CONTRACT_EXPECT needs KEYSIDE_CONTRACT_LIVE=1", returncode=1)


def pytest_generate_tests(metafunc):
    if "interaction" in metafunc.fixturenames:
        interactions = [one for provider in PROVIDERS for one in provider.interactions(MODE.live)]
        metafunc.parametrize("interaction", interactions, ids=lambda one: one.name)


def pytest_collection_modifyitems(items):
    """Runs the searches for connections and keys last; live, only the contracts and the search for keys."""
    if MODE.live:
        items[:] = [item for item in items if item.path.name in ("test_contracts.py", "test_canaries.py")]
    last = ["test_egress.py", "test_canaries.py"]
    items.sort(key=lambda item: last.index(item.path.name) if item.path.name in last else -1)


@pytest.fixture(scope="session")
def stage(tmp_path_factory) -> Iterator[Stage]:
    available = [provider for provider in PROVIDERS if provider.interactions(MODE.live) and not MODE.missing(provider)]
    stage = Stage(tmp_path_factory.mktemp("keyside"), MODE, available)
    try:
        yield stage.start()
    finally:
        stage.stop()


@pytest.fixture
def current_mode() -> Mode:
    return MODE
