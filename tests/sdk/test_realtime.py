"""OpenAI's realtime client uses a WebSocket through Keyside: the handshake gets the key, the frames
pass unchanged."""

import asyncio

import openai
import pytest
from websockets.exceptions import InvalidStatus

from conftest import DUMMY_KEY, EMPTY, GOOD, RETIRED, STALE, TAG_FORMS
from harness import web
from harness.aimock import ANSWER
from harness.calls import Way
from harness.keyside import PUBLIC_URL

MODEL = "gpt-realtime"


@pytest.mark.parametrize("tag", TAG_FORMS)
def a_realtime_session_is_answered(tag, through_keyside, arrived):
    assert _converse(through_keyside("openai", tag=tag), "count to three")[-1] == ("response.done", ANSWER)
    (session,) = arrived("openai")
    assert (session["method"], session["path"]) == ("WS", "/v1/realtime")


@pytest.mark.parametrize("tag", TAG_FORMS)
def an_asynchronous_realtime_session_is_answered(tag, through_keyside):
    assert asyncio.run(_converse_async(through_keyside("openai", tag=tag), "count to three")) == ANSWER


@pytest.mark.parametrize("prompt", ["count to three", "be rate limited"])
def the_events_are_those_that_the_provider_sent(prompt, through_keyside, directly):
    assert _converse(through_keyside("openai"), prompt) == _converse(directly("openai"), prompt)


def a_stored_key_that_the_provider_rejects_fails_the_handshake(through_keyside):
    with pytest.raises(InvalidStatus) as rejected:
        _converse(through_keyside("openai", STALE), "count to three")

    assert rejected.value.response.status_code == 401
    assert "Invalid API key" in rejected.value.response.body.decode()


@pytest.mark.parametrize(
    ("code", "status", "workspace", "headers"),
    [
        ("credential_missing", 401, EMPTY, {}),
        ("credential_revoked", 401, RETIRED, {}),
        ("workspace_unknown", 400, "nobody", {}),
        ("label_unknown", 400, GOOD, {"X-Keyside-Label": "no-such-label"}),
    ],
)
def a_refusal_fails_the_handshake_with_our_message(code, status, workspace, headers, keyside, through_keyside, arrived):
    refused_before = keyside.refusals(code)

    with pytest.raises(InvalidStatus) as refused:
        _converse(through_keyside("openai", workspace, headers=headers), "count to three")

    body = refused.value.response.body.decode()
    assert refused.value.response.status_code == status
    assert code in body and PUBLIC_URL in body
    assert web.eventually(lambda: keyside.refusals(code) == refused_before + 1)
    assert arrived("openai") == []


def a_realtime_upgrade_is_not_allowed_elsewhere(through_keyside):
    way = through_keyside("openai")
    astray = Way(f"{way.origin}/v1/organization", DUMMY_KEY, way.headers)

    with pytest.raises(InvalidStatus) as refused:
        _converse(astray, "count to three")

    assert refused.value.response.status_code == 403
    assert "path_not_allowed" in refused.value.response.body.decode()


def _converse(way: Way, prompt: str) -> list[tuple[str, str]]:
    """One question and the events up to the end of its answer: each one's type and the text heard
    until then."""
    events, heard = [], ""
    with way.to_openai() as client, client.realtime.connect(model=MODEL) as connection:
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        connection.conversation.item.create(item=_said(prompt))
        connection.response.create()
        for event in connection:
            if event.type == "response.output_text.delta":
                heard += event.delta
            events.append((event.type, event.error.message if event.type == "error" else heard))
            if event.type in ("response.done", "error"):
                return events
    raise AssertionError(f"the session ended early: {events}")


async def _converse_async(way: Way, prompt: str) -> str:
    heard = ""
    async with way.to_openai(openai.AsyncOpenAI) as client, client.realtime.connect(model=MODEL) as connection:
        await connection.conversation.item.create(item=_said(prompt))
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_text.delta":
                heard += event.delta
            if event.type == "response.done":
                return heard
    raise AssertionError(f"the session ended early: {heard}")


def _said(prompt: str):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
