"""pydantic-ai's agents, configured only by the environment."""

import asyncio

from asked import answer_for
from pydantic_ai import Agent

MODELS = {
    "openai": "openai:gpt-4o",
    "anthropic": "anthropic:claude-sonnet-4-5",
    "gemini": "google:gemini-2.5-flash",
}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"snow in {city}"


def plain(model):
    yield Agent(model).run_sync("count to three").output


def stream(model):
    async def run():
        async with Agent(model).run_stream("count to three") as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    yield from asyncio.run(run())


def use_tool(model):
    yield Agent(model, tools=[get_weather]).run_sync("weather in Oslo").output


def call(model, ask):
    return lambda: ask(model)


KINDS = {"plain": plain, "stream": stream, "tool": use_tool}
answer_for({f"{id} {kind}": call(model, ask) for id, model in MODELS.items() for kind, ask in KINDS.items()})
