"""The npm SDK: the tests are in `node/`, run by Node's own test runner against the same stage."""

import json
import os
import subprocess

import pytest

from conftest import DUMMY_KEY, EMPTY, GOOD, RETIRED, STALE
from harness.aimock import ANSWER, SUITE
from harness.keyside import PUBLIC_URL


@pytest.mark.parametrize("file", sorted(SUITE.glob("node/*.test.mjs")), ids=lambda file: file.name)
def every_test_of_the_npm_sdk_passes(file, stage):
    described = {
        "proxy": stage.keyside.proxy,
        "observe": stage.keyside.observe,
        "publicUrl": PUBLIC_URL,
        "dummyKey": DUMMY_KEY,
        "workspaces": {"good": GOOD, "stale": STALE, "retired": RETIRED, "empty": EMPTY},
        "answer": ANSWER,
        "provider": {"url": stage.providers["openai"].url, "key": stage.providers["openai"].key},
    }
    run = subprocess.run(
        ["node", "--test", "--test-reporter=spec", file],
        cwd=SUITE,
        env={"PATH": os.environ["PATH"], "STAGE": json.dumps(described)},
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert run.returncode == 0, run.stdout + run.stderr
