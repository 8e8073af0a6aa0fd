"""OpenAI's Agents SDK, configured only by the environment."""

import asyncio

from agents import Agent, Runner, function_tool
from asked import answer_for


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"snow in {city}"


def agent(**settings):
    return Agent(name="Assistant", model="gpt-4o", **settings)


def plain():
    yield here(Runner.run(agent(), "count to three")).final_output


def stream():
    async def run():
        events = Runner.run_streamed(agent(), "count to three").stream_events()
        raw = [event.data async for event in events if event.type == "raw_response_event"]
        return [data.delta for data in raw if data.type == "response.output_text.delta"]

    yield from here(run())


def use_tool():
    yield here(Runner.run(agent(tools=[get_weather]), "weather in Oslo")).final_output


# The SDK reuses connections between calls, and they belong to one event loop.
here = asyncio.new_event_loop().run_until_complete

answer_for({"openai plain": plain, "openai stream": stream, "openai tool": use_tool})
