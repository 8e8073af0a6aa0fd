"""Every kind of call that the tested programs make: SDK, endpoint, plain or streaming, sync or
async.

The SDKs are used as their own documentation shows. A `Way` is everything that changes when a
program uses Keyside.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

GPT, CLAUDE, GEMINI = "gpt-4o", "claude-opus-5", "gemini-2.5-flash"

#: Receives the response piece by piece.
Hear = Callable[[str | None], Any]


@dataclass(frozen=True)
class Way:
    """A client's base URL, key and headers."""

    origin: str
    """The base URL, without the path in the SDK's own default (such as `/v1`)."""
    api_key: str
    headers: dict[str, str] = field(default_factory=dict)
    retries: int | None = None
    """None keeps the SDK's default."""

    def to_openai(self, kind: type[openai.OpenAI] | type[openai.AsyncOpenAI] = openai.OpenAI):
        return kind(base_url=f"{self.origin}/v1", **self._stainless())

    def to_azure(self, kind: type[openai.AzureOpenAI] | type[openai.AsyncAzureOpenAI] = openai.AzureOpenAI):
        return kind(azure_endpoint=self.origin, api_version="2024-10-21", **self._stainless())

    def to_anthropic(self, kind: type[anthropic.Anthropic] | type[anthropic.AsyncAnthropic] = anthropic.Anthropic):
        return kind(base_url=self.origin, **self._stainless())

    def to_gemini(self, api_version: str | None = "v1beta") -> genai.Client:
        """aimock supports only v1beta; None keeps the SDK's default."""
        attempts = None if self.retries is None else types.HttpRetryOptions(attempts=self.retries + 1)
        options = types.HttpOptions(
            base_url=self.origin, headers=self.headers, api_version=api_version, retry_options=attempts
        )
        return genai.Client(api_key=self.api_key, http_options=options)

    def _stainless(self) -> dict[str, Any]:
        retries = {} if self.retries is None else {"max_retries": self.retries}
        return {"api_key": self.api_key, "default_headers": self.headers, **retries}


@dataclass(frozen=True)
class Call:
    """One kind of call: `ask(way, prompt, hear)` returns when the response is complete, or raises.
    """

    name: str
    provider: str
    ask: Callable[[Way, str, Hear], None]
    streams: bool = False


@dataclass
class Outcome:
    """What the calling program received: the pieces of the response, and the exception, if any."""

    pieces: list[str]
    error: Exception | None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def make(call: Call, way: Way, prompt: str) -> Outcome:
    """Makes the call and returns its result or exception."""
    pieces: list[str] = []
    try:
        call.ask(way, prompt, lambda piece: piece and pieces.append(piece))
    except Exception as error:
        return Outcome(pieces, error)
    return Outcome(pieces, None)


def _user(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


# OpenAI: chat completions (also with the Azure client)


def _chat(client, prompt: str, hear: Hear):
    with client:
        hear(client.chat.completions.create(model=GPT, messages=_user(prompt)).choices[0].message.content)


def _chat_stream(client, prompt: str, hear: Hear):
    with client:
        for chunk in client.chat.completions.create(model=GPT, messages=_user(prompt), stream=True):
            hear(chunk.choices[0].delta.content)


async def _chat_async(client, prompt: str, hear: Hear):
    async with client:
        completion = await client.chat.completions.create(model=GPT, messages=_user(prompt))
        hear(completion.choices[0].message.content)


async def _chat_stream_async(client, prompt: str, hear: Hear):
    async with client:
        async for chunk in await client.chat.completions.create(model=GPT, messages=_user(prompt), stream=True):
            hear(chunk.choices[0].delta.content)


# OpenAI: Responses


def _responses(client, prompt: str, hear: Hear):
    with client:
        hear(client.responses.create(model=GPT, input=prompt).output_text)


def _responses_stream(client, prompt: str, hear: Hear):
    with client:
        for event in client.responses.create(model=GPT, input=prompt, stream=True):
            if event.type == "response.output_text.delta":
                hear(event.delta)


async def _responses_async(client, prompt: str, hear: Hear):
    async with client:
        hear((await client.responses.create(model=GPT, input=prompt)).output_text)


async def _responses_stream_async(client, prompt: str, hear: Hear):
    async with client:
        async for event in await client.responses.create(model=GPT, input=prompt, stream=True):
            if event.type == "response.output_text.delta":
                hear(event.delta)


# Anthropic: messages


def _messages(client, prompt: str, hear: Hear):
    with client:
        hear(client.messages.create(model=CLAUDE, max_tokens=256, messages=_user(prompt)).content[0].text)


def _messages_stream(client, prompt: str, hear: Hear):
    with client, client.messages.stream(model=CLAUDE, max_tokens=256, messages=_user(prompt)) as stream:
        for text in stream.text_stream:
            hear(text)


async def _messages_async(client, prompt: str, hear: Hear):
    async with client:
        hear((await client.messages.create(model=CLAUDE, max_tokens=256, messages=_user(prompt))).content[0].text)


async def _messages_stream_async(client, prompt: str, hear: Hear):
    async with client, client.messages.stream(model=CLAUDE, max_tokens=256, messages=_user(prompt)) as stream:
        async for text in stream.text_stream:
            hear(text)


# Gemini: generateContent


def _generate(client, prompt: str, hear: Hear):
    with client:
        hear(client.models.generate_content(model=GEMINI, contents=prompt).text)


def _generate_stream(client, prompt: str, hear: Hear):
    with client:
        for chunk in client.models.generate_content_stream(model=GEMINI, contents=prompt):
            hear(chunk.text)


async def _generate_async(client, prompt: str, hear: Hear):
    async with client:
        hear((await client.models.generate_content(model=GEMINI, contents=prompt)).text)


async def _generate_stream_async(client, prompt: str, hear: Hear):
    async with client:
        async for chunk in await client.models.generate_content_stream(model=GEMINI, contents=prompt):
            hear(chunk.text)


# The table of them all


def _sync(connect, ask):
    return lambda way, prompt, hear: ask(connect(way), prompt, hear)


def _async(connect, ask):
    async def run(way: Way, prompt: str, hear: Hear):
        await ask(connect(way), prompt, hear)

    return lambda way, prompt, hear: asyncio.run(run(way, prompt, hear))


def _family(name: str, provider: str, connect: Callable, connect_async: Callable, asks: tuple) -> list[Call]:
    plain, stream, plain_async, stream_async = asks
    return [
        Call(name, provider, _sync(connect, plain)),
        Call(f"{name}-stream", provider, _sync(connect, stream), streams=True),
        Call(f"{name}-async", provider, _async(connect_async, plain_async)),
        Call(f"{name}-stream-async", provider, _async(connect_async, stream_async), streams=True),
    ]


def _async_openai(way: Way) -> openai.AsyncOpenAI:
    return way.to_openai(openai.AsyncOpenAI)


def _async_azure(way: Way) -> openai.AsyncAzureOpenAI:
    return way.to_azure(openai.AsyncAzureOpenAI)


def _async_anthropic(way: Way) -> anthropic.AsyncAnthropic:
    return way.to_anthropic(anthropic.AsyncAnthropic)


def _async_gemini(way: Way):
    return way.to_gemini().aio


CHAT = (_chat, _chat_stream, _chat_async, _chat_stream_async)
RESPONSES = (_responses, _responses_stream, _responses_async, _responses_stream_async)
MESSAGES = (_messages, _messages_stream, _messages_async, _messages_stream_async)
GENERATE = (_generate, _generate_stream, _generate_async, _generate_stream_async)

CALLS = [
    *_family("openai-chat", "openai", Way.to_openai, _async_openai, CHAT),
    *_family("openai-responses", "openai", Way.to_openai, _async_openai, RESPONSES),
    *_family("azure-chat", "azure-openai", Way.to_azure, _async_azure, CHAT),
    *_family("anthropic-messages", "anthropic", Way.to_anthropic, _async_anthropic, MESSAGES),
    *_family("gemini-generate", "gemini", Way.to_gemini, _async_gemini, GENERATE),
]

EACH_CALL = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
