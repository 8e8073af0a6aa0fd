"""The suite itself: each kind of expectation can fail, and one switch decides whom it asks."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract import Interaction, Provider
from harness.aimock import Aimock
from harness.canary import canary, leaks
from harness.keyside import binary

SUITE = Path(__file__).parent
BODY, STREAM, SOCKET = "a chat completion", "a streamed chat completion", "a response over a WebSocket"
CUT = "a stream that the provider cuts off"
MISSING = "a key that is missing, which Keyside refuses in the provider's format"


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        (BODY, {"status": 201}),
        (BODY, {"type": "text/plain"}),
        (BODY, {"response": {"id": "$integer"}}),
        (BODY, {"response": {"choices": [{"message": {"tool_calls": "$array"}}]}}),
        (BODY, {"outcome": "client_error"}),
        (BODY, {"complete": False}),
        (BODY, {"usage": {"input": "usage.completion_tokens", "output": "usage.completion_tokens"}}),
        (BODY, {"usage": {"input": "usage.input_tokens", "output": "usage.completion_tokens"}}),
        (BODY, {"usage": {}}),
        (STREAM, {"type": "application/json"}),
        (STREAM, {"events": {"each": {"object": "chat.completion"}, "in_order": ["[DONE]"]}}),
        (STREAM, {"events": {"each": "@chat_chunk", "in_order": ["[DONE]", "@chat_chunk_finish"]}}),
        (STREAM, {"events": {"each": "@chat_chunk", "in_order": ["@chat_chunk_finish"]}}),
        (STREAM, {"usage": {"input": "usage.prompt_tokens"}}),
        (SOCKET, {"events": {"each": "@response_event", "in_order": [{"type": "response.failed"}]}}),
        (SOCKET, {"usage": {}}),
        (CUT, {"complete": True}),
        (CUT, {"outcome": "ok"}),
        (MISSING, {"response": "@error_gemini"}),
        (MISSING, {"key": "good"}),
    ],
    ids=lambda value: str(value)[:60],
)
def a_broken_expectation_fails(name, broken, stage):
    interaction = _interaction(stage, name)
    with pytest.raises(AssertionError):
        stage.keeps(Interaction(interaction.provider, interaction.data | broken))


@pytest.mark.parametrize(
    "broken",
    [
        {"credential": {"header": "x-api-key", "value": "Bearer {key}"}},
        {"credential": {"header": "authorization", "value": "{key}"}},
        {"always_sent": {"openai-beta": "realtime=v1"}},
        {"below": "/inference"},
    ],
    ids=str,
)
def a_request_that_arrives_otherwise_fails(broken, stage):
    interaction = _interaction(stage, BODY)
    with pytest.raises(AssertionError):
        stage.keeps(Interaction(Provider("openai", interaction.provider.data | broken), interaction.data))


def a_client_that_sends_a_credential_fails(stage):
    interaction = _interaction(stage, BODY)
    data = copy.deepcopy(interaction.data) | {"headers": {"Authorization": "Bearer sk-dummy"}}
    with pytest.raises(AssertionError, match="the client sends no credential"):
        stage.keeps(Interaction(interaction.provider, data))


def without_a_key_a_live_provider_is_skipped_with_a_notice():
    done = _live()
    assert done.returncode == 0, done.stdout
    assert "openai: OPENAI_API_KEY is not set" in done.stdout
    assert "azure-openai: AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT are not set" in done.stdout
    assert "TESTS DID NOT RUN" in done.stdout
    assert " passed" not in done.stdout


def a_missing_key_of_an_expected_provider_fails():
    done = _live(KEYSIDE_CONTRACT_EXPECT="openai,anthropic")
    assert done.returncode == 1, done.stdout
    assert "openai: OPENAI_API_KEY is not set, and KEYSIDE_CONTRACT_EXPECT names it" in done.stdout
    assert "gemini: GEMINI_API_KEY is not set" in done.stdout


@pytest.mark.parametrize(
    "variables",
    [{"KEYSIDE_CONTRACT_EXPECT": "opnai"}, {"KEYSIDE_CONTRACT_EXPECT": "openai", "KEYSIDE_CONTRACT_LIVE": ""}],
    ids=["a misspelt provider", "without the switch"],
)
def an_expectation_that_cannot_hold_is_an_error(variables):
    assert _live(**variables).returncode == 1


def with_a_key_the_same_interactions_run_live():
    key = canary("sk-proj-")
    aimock = Aimock(key, suite=SUITE)
    try:
        accepted = _live(OPENAI_API_KEY=key, KEYSIDE_CONTRACT_URL_OPENAI=aimock.url, KEYSIDE_CONTRACT_EXPECT="openai")
        wrong = canary("sk-proj-")
        rejected = _live(OPENAI_API_KEY=wrong, KEYSIDE_CONTRACT_URL_OPENAI=aimock.url)
    finally:
        aimock.stop()

    assert accepted.returncode == 0, accepted.stdout
    assert " passed" in accepted.stdout
    assert rejected.returncode == 1, rejected.stdout
    assert "the status is 401, not 200" in rejected.stdout
    assert leaks(key, accepted.stdout.encode()) == leaks(wrong, rejected.stdout.encode()) == []


def _interaction(stage, name: str) -> Interaction:
    (openai,) = (provider for provider in stage.providers if provider.id == "openai")
    return next(one for one in openai.interactions(live=False) if one.data["name"] == name)


def _live(**variables: str) -> subprocess.CompletedProcess:
    """The suite with the switch on, in an environment without anyone's keys."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "KEYSIDE_BIN": str(binary())}
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs"],
        cwd=SUITE,
        env=environment | {"KEYSIDE_CONTRACT_LIVE": "1"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
