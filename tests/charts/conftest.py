"""Fixtures and options of the suite."""

import pytest

from chart import CASES


def pytest_addoption(parser):
    parser.addoption("--write", action="store_true", help="accept what is rendered as the new snapshots, and write the chart's README")


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES)


@pytest.fixture
def accepts(request) -> bool:
    return request.config.getoption("--write")
