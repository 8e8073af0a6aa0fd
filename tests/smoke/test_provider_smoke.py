"""The script of provider-smoke.yml: every provider passes; then each kind of failure is named, with what to do."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.aimock import Aimock
from harness.canary import canary, leaks
from harness.keyside import Keyside, binary
from stand_in import ROOT, StandIn

SUITE = Path(__file__).parent
CONTRACTS = {file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "tests/contract/providers").glob("*.json"))}
#: The built-in sandbox has no key.
PROVIDERS = [id for id, contract in CONTRACTS.items() if contract["live"]]
KEYS = {id: canary(CONTRACTS[id]["credential"]["prefix"]) for id in PROVIDERS}
#: Those whose check is, or can be, a prompt. The names of Azure's deployments are not known.
PROMPTED = set(PROVIDERS) - {"azure-openai"}
DOWN = "http://127.0.0.1:1"


@dataclass
class Job:
    """What a job left behind."""

    code: int
    log: str
    summary: str
    folder: Path

    @property
    def result(self) -> dict:
        return json.loads((self.folder / "smoke-results/result.json").read_text())

    def everything(self) -> bytes:
        """All that is kept: the log without the lines that the runner takes out, the summary and the artefacts."""
        shown = "\n".join(line for line in self.log.splitlines() if not line.startswith("::add-mask::"))
        artefacts = b"".join(file.read_bytes() for file in (self.folder / "smoke-results").glob("*"))
        return shown.encode() + self.summary.encode() + artefacts


def _job(folder: Path, provider: str, url: str, **variables: str) -> Job:
    """Runs the script with the environment of the workflow's job."""
    folder.mkdir(exist_ok=True)
    (summary := folder / "summary.md").touch()
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(folder),
        "KEYSIDE_BIN": str(binary()),
        "PROVIDER_SMOKE_KEY": KEYS[provider],
        "PROVIDER_SMOKE_ENDPOINT": url,
        **variables,
    }
    done = subprocess.run(
        [SUITE / "provider_smoke.py", provider], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    job = Job(done.returncode, done.stdout + done.stderr, summary.read_text(), folder)
    assert leaks(KEYS[provider], job.everything()) == [], "the key is in what is kept"
    return job


@pytest.fixture(scope="module")
def aimock() -> Iterator[Aimock]:
    running = Aimock(*KEYS.values(), suite=SUITE)
    yield running
    running.stop()


@pytest.fixture
def jobs(aimock, tmp_path):
    """Runs jobs against stand-ins; `jobs(provider, fault)`."""
    stand_ins: list[StandIn] = []

    def run(provider: str, fault: str | None = None, **variables: str) -> Job:
        if fault == "down":
            return _job(tmp_path / provider, provider, DOWN, **variables)
        stand_in = StandIn(provider, KEYS[provider], aimock.url, fault)
        stand_ins.append(stand_in)
        return _job(tmp_path / provider, provider, stand_in.url, **variables)

    yield run
    for stand_in in stand_ins:
        stand_in.stop()


def every_provider_answers_200_with_latency_and_tokens_in_the_summary(jobs):
    with ThreadPoolExecutor(4) as pool:
        done = dict(zip(PROVIDERS, pool.map(jobs, PROVIDERS), strict=True))
    for provider, job in done.items():
        assert job.code == 0, f"{provider}: {job.log}\n{job.summary}"
        tokens = "17" if provider in PROMPTED else "-"
        row = rf"^\| {provider} \| ci \| sandbox \| ci \| 200 \| \d+ ms \| {tokens} \| ✅"
        assert re.search(row, job.summary, re.MULTILINE), job.summary
        assert job.result["passed"] and job.result["verdict"] == "accepted"
        assert "::error" not in job.log


def each_failure_says_which_provider_what_failed_and_what_to_do(jobs):
    broken = jobs("groq", "broken")
    assert broken.code == 1
    assert re.search(r"^\| groq \| .*\| 401 \|.*❌ rejected.*create a new one", broken.summary, re.MULTILINE), broken.summary
    assert "::error title=Smoke check%3A groq" in broken.log
    assert broken.result["verdict"] == "rejected"

    down = jobs("mistral", "down")
    assert down.code == 1
    assert re.search(r"^\| mistral \|.*❌ unreachable.*firewall", down.summary, re.MULTILINE), down.summary
    assert down.result["verdict"] == "unreachable"

    slow = jobs("anthropic", "slow", PROVIDER_SMOKE_SLOW_MS="1000")
    assert slow.code == 1
    assert re.search(r"^\| anthropic \| .*\| 200 \| \d{4,} ms \| 17 \|", slow.summary, re.MULTILINE), slow.summary
    assert re.search(r"^❌ slow: anthropic answered after \d{4,} ms.*status page", slow.summary, re.MULTILINE), slow.summary

    poor = jobs("openai", "no funds")
    assert poor.code == 1
    assert re.search(r"^\| openai \| .*\| 429 \|.*❌ rejected.*(Add funds|Raise the limit)", poor.summary, re.MULTILINE), poor.summary
    assert "::error title=Smoke check%3A openai" in poor.log
    assert poor.result["check"]["cause"] in ("no_funds", "quota_exhausted")
    assert poor.result["verdict"] == "rejected"


def a_key_that_is_absent_is_a_notice_and_where_it_is_expected_a_failure(tmp_path):
    absent = {"PROVIDER_SMOKE_KEY": ""}
    job = _job(tmp_path / "one", "xai", DOWN, **absent)
    assert job.code == 0
    assert job.log.startswith("::notice title=Smoke check%3A xai::No key for xai")
    job = _job(tmp_path / "two", "xai", DOWN, PROVIDER_SMOKE_EXPECTED="true", **absent)
    assert job.code == 1
    assert job.log.startswith("::error title=Smoke check%3A xai::No key for xai")


def every_form_of_the_key_is_masked_and_outside_of_a_runner_none_is_printed(jobs, tmp_path):
    key = KEYS["openai"]
    job = jobs("openai", PROVIDER_SMOKE_PROMPT="false")
    assert job.code == 0, job.log
    masks = [line.removeprefix("::add-mask::") for line in job.log.splitlines() if line.startswith("::add-mask::")]
    haystack = "\n".join(masks).encode()
    assert {"raw", "hex", "HEX", "url", "base64+0", "base64+1", "base64+2", "base64url+0"} <= set(leaks(key, haystack))
    assert job.log.startswith("".join(f"::add-mask::{mask}\n" for mask in masks)), "masks come first"
    assert job.result["check"]["tokens"] is None

    local = jobs("openai", GITHUB_ACTIONS="false", PROVIDER_SMOKE_PROMPT="false")
    assert leaks(key, local.log.encode()) == []


def results_are_posted_to_a_running_keyside_which_counts_them(jobs, tmp_path):
    (home := tmp_path / "reported").mkdir()
    keyside = Keyside(binary(), home, {})
    try:
        keyside.add_workspace("acme")
        report = {
            "PROVIDER_SMOKE_REPORT_URL": keyside.admin,
            "PROVIDER_SMOKE_REPORT_WORKSPACE": "acme",
            "PROVIDER_SMOKE_REPORT_TOKEN": (home / "data/admin-token").read_text().strip(),
        }
        counted = lambda name: int(re.search(rf'^provider_smoke_{name}{{provider="openai"}} (\d+)$', keyside.metrics().decode(), re.M)[1])
        assert jobs("openai", "no funds", **report).code == 1
        assert (counted("runs_total"), counted("failures_total"), counted("consecutive_failures")) == (1, 1, 1)
        assert jobs("openai", "broken", **report).code == 1
        assert (counted("failures_total"), counted("consecutive_failures")) == (2, 2)
        assert jobs("openai", **report).code == 0
        assert (counted("runs_total"), counted("failures_total"), counted("consecutive_failures")) == (3, 2, 0)
    finally:
        keyside.stop()


def the_workflow_has_every_provider_of_the_catalogue_in_both_lists():
    workflow = (ROOT / ".github/workflows/provider-smoke.yml").read_text()
    options = re.search(r"options:\n((?: +- \S+\n)+)", workflow)[1].split()
    assert options[1::2] == ["all", *PROVIDERS]
    planned = re.search(r"ALL: >-\n((?: {12}.*\n)+)", workflow)[1]
    assert json.loads(" ".join(planned.split())) == PROVIDERS
