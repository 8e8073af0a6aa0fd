from collections.abc import Iterator

import pytest

from provider import Provider
from reader import Reader


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.stop()


@pytest.fixture
def reader(provider, tmp_path) -> Iterator[Reader]:
    reader = Reader(provider, tmp_path)
    yield reader
    reader.leaves()
