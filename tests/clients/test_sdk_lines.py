"""Runs the lines that `key add` prints for each SDK in config/providers/: the real SDK, in a new
process, with only those lines."""

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import environments
from harness.canary import canary
from harness.keyside import Keyside, binary
from recipes import DUMMY
from recorder import TEXT, Recorder
from upstream import SUITE

WORKSPACE = "acme"
PROVIDERS = Path(__file__).parents[2] / "config/providers"
CATALOGUE = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(PROVIDERS.glob("*.toml"))}

PYTHON, NPM = "sdks-python", "sdks-npm"
OPENAI, ANTHROPIC = "openai (Python, Node)", "anthropic (Python, TypeScript)"


@dataclass(frozen=True)
class Runs:
    """The program that runs an entry, and the request that the provider documents for it."""

    request: str
    python: str | None = None
    """The call in programs/call_sdk.py."""
    npm: str | None = None
    """The call in programs/call_sdk.mjs."""


def _openai(path: str, call: str = "openai") -> Runs:
    return Runs(f"POST {path}", call, call)


def _anthropic(path: str) -> Runs:
    return Runs(f"POST {path}", "anthropic", "anthropic")


#: Each entry of the catalogue: the provider, and the SDK's name in the catalogue.
RUNS = {
    ("anthropic", ANTHROPIC): _anthropic("/v1/messages"),
    ("azure-openai", "openai (AzureOpenAI client, with an API version set)"): _openai(
        "/openai/deployments/a-model/chat/completions", "openai_azure"
    ),
    ("azure-openai", "openai (v1 API)"): _openai("/openai/v1/chat/completions"),
    ("bedrock", "AWS SDKs (with a region set, and AWS_BEARER_TOKEN_BEDROCK unset)"): Runs(
        "POST /model/a-model/converse", "boto3", "aws_sdk"
    ),
    ("bedrock", "anthropic (AnthropicBedrock client, with a region set)"): Runs(
        "POST /model/a-model/invoke", "anthropic_bedrock", "anthropic_bedrock"
    ),
    ("bedrock", OPENAI): _openai("/openai/v1/chat/completions"),
    ("cohere", "cohere (Python)"): Runs("POST /v2/chat", python="cohere"),
    ("cohere", "cohere-ai (TypeScript)"): Runs("POST /v2/chat", npm="cohere"),
    ("cohere", OPENAI): _openai("/compatibility/v1/chat/completions"),
    ("deepseek", OPENAI): _openai("/v1/chat/completions"),
    ("deepseek", ANTHROPIC): _anthropic("/anthropic/v1/messages"),
    ("fireworks", "fireworks-ai (Python)"): Runs("POST /inference/v1/chat/completions", python="fireworks_ai"),
    ("fireworks", OPENAI): _openai("/inference/v1/chat/completions"),
    ("fireworks", ANTHROPIC): _anthropic("/inference/v1/messages"),
    ("gemini", "google-genai (Python, JavaScript)"): Runs(
        "POST /v1/models/a-model:generateContent", "google_genai", "google_genai"
    ),
    ("gemini", OPENAI): _openai("/v1beta/openai/chat/completions"),
    ("groq", "groq (Python, TypeScript)"): Runs("POST /openai/v1/chat/completions", "groq", "groq"),
    ("groq", OPENAI): _openai("/openai/v1/chat/completions"),
    ("mistral", "mistralai (Python)"): Runs("POST /v1/chat/completions", python="mistralai"),
    ("mistral", "@mistralai/mistralai (TypeScript)"): Runs("POST /v1/chat/completions", npm="mistralai"),
    ("mistral", OPENAI): _openai("/v1/chat/completions"),
    ("openai", OPENAI): _openai("/v1/chat/completions"),
    ("openrouter", OPENAI): _openai("/api/v1/chat/completions"),
    ("openrouter", ANTHROPIC): _anthropic("/api/v1/messages"),
    ("openrouter", "openrouter (Python)"): Runs("POST /api/v1/chat/completions", python="openrouter"),
    ("openrouter", "@openrouter/sdk (TypeScript)"): Runs("POST /api/v1/chat/completions", npm="openrouter"),
    ("perplexity", "perplexityai (Python, TypeScript)"): Runs("POST /chat/completions", "perplexityai", "perplexity"),
    # The provider's Responses API is below /v1, chat completions are not.
    ("perplexity", OPENAI): _openai("/v1/responses", "openai_responses"),
    ("sandbox", OPENAI): _openai("/v1/chat/completions"),
    ("sandbox", ANTHROPIC): _anthropic("/v1/messages"),
    ("together", "together (Python)"): Runs("POST /v1/chat/completions", python="together"),
    ("together", "together-ai (TypeScript)"): Runs("POST /v1/chat/completions", npm="together"),
    ("together", OPENAI): _openai("/v1/chat/completions"),
    ("xai", OPENAI): _openai("/v1/chat/completions"),
    ("xai", ANTHROPIC): _anthropic("/v1/messages"),
}
ENTRIES = [(provider, entry["name"]) for provider, data in CATALOGUE.items() for entry in data["sdk"]]
CASES = [
    (*entry, environment, call)
    for entry, runs in RUNS.items()
    for environment, call in ((PYTHON, runs.python), (NPM, runs.npm))
    if call
]

_IN_CODE = re.compile(r'(?P<name>.*): in code, (?P<option>\w+) = "(?P<url>[^"]*)"')


@dataclass(frozen=True)
class Printed:
    """The lines for one SDK."""

    variables: dict[str, str]
    options: dict[str, str]
    """The options that the lines tell to set in code."""


class Stage:
    """The real keyside, in front of one recorder as every provider."""

    def __init__(self, folder: Path):
        self.recorder = Recorder()
        providers = dict.fromkeys(CATALOGUE, self.recorder.url)
        self.keyside = Keyside(binary(), folder, providers)
        self.keyside.add_workspace(WORKSPACE)
        self.keys = {id: canary(next(iter(data["key"]["prefix"]), "")) for id, data in CATALOGUE.items()}
        # Real settings name the port; here the system chooses it.
        port = self.keyside.proxy.rpartition(":")[2]
        (folder / "person.toml").write_text(f'[proxy]\nlisten = ["127.0.0.1:{port}"]\n')
        self.printed = cache(self._printed)

    def stop(self):
        self.keyside.stop()
        self.recorder.stop()

    def _printed(self, provider: str) -> dict[str, Printed]:
        """The lines of `key add`, by the name of the SDK."""
        arguments = ("--config", "person.toml", "key", "add", "-w", WORKSPACE, "-p", provider, "--stdin", "--check", "skip")
        endpoint = CATALOGUE[provider].get("endpoint")
        arguments += ("--endpoint", endpoint["example"]) if endpoint else ()
        said = self.keyside.command(*arguments, given=self.keys[provider])
        blocks = [block.splitlines() for block in said.split("\n\n")]
        return dict(_read(block) for block in blocks if block and block[0].startswith("# "))


def _read(block: list[str]) -> tuple[str, Printed]:
    first, *exports = block
    title = first.removeprefix("# ")
    in_code = _IN_CODE.fullmatch(title)
    words = [shlex.split(line) for line in exports]
    assert all(line[0] == "export" and len(line) == 2 for line in words), block
    variables = dict(line[1].split("=", 1) for line in words)
    if in_code:
        return in_code["name"], Printed(variables, {in_code["option"]: in_code["url"]})
    return title, Printed(variables, {})


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("keyside"))
    yield stage
    stage.stop()


@pytest.mark.quick
def every_entry_has_a_program():
    assert sorted(RUNS) == sorted(ENTRIES)
    assert all(runs.python or runs.npm for runs in RUNS.values())


@pytest.mark.quick
@pytest.mark.parametrize("provider", CATALOGUE)
def key_add_prints_lines_for_every_entry(provider, running):
    printed = running.printed(provider)

    assert list(printed) == [entry["name"] for entry in CATALOGUE[provider]["sdk"]]
    for entry in CATALOGUE[provider]["sdk"]:
        lines = printed[entry["name"]]
        url = f"{running.keyside.proxy}/w/{WORKSPACE}/{provider}{entry['suffix']}"
        assert lines.variables | lines.options == {entry["variable"]: url, **dict.fromkeys(entry["key_variables"], DUMMY)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "name", "environment", "call"), CASES, ids=[f"{case[0]}-{case[3]}-{case[2]}" for case in CASES]
)
def the_sdk_reaches_its_provider_with_the_printed_lines(provider, name, environment, call, running, home):
    lines = running.printed(provider)[name]
    home.variables |= lines.variables
    running.recorder.heads.clear()

    done = _run(environment, home, call, json.dumps(lines.options))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == TEXT, done.stderr
    [head] = running.recorder.heads
    assert head.request == RUNS[provider, name].request
    assert head.credentials == (running.keys[provider],)
    assert DUMMY not in head.text.lower(), head.text


def _run(environment: str, home, *arguments: str):
    programs = environments.programs(environment)
    if environment == PYTHON:
        shutil.copy(SUITE / "programs/call_sdk.py", home.work)
        return home.run(programs / "python", "call_sdk.py", *arguments, programs=programs)
    shutil.copy(SUITE / "programs/call_sdk.mjs", home.work)
    (home.work / "node_modules").symlink_to(programs.parent)
    return home.run("node", "call_sdk.mjs", *arguments, programs=programs)
