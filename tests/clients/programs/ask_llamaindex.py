"""LlamaIndex's LLM classes, with base URLs from the environment where they read one."""

import asyncio

from asked import answer_for
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.google_genai import GoogleGenAI
from llama_index.llms.openai import OpenAI

MODELS = {
    "openai": lambda: OpenAI(model="gpt-4o"),
    "anthropic": lambda: Anthropic(model="claude-sonnet-4-5"),
    "gemini": lambda: GoogleGenAI(model="gemini-2.5-flash"),
}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"snow in {city}"


def plain(model):
    yield model.chat([ChatMessage("count to three")]).message.content


def stream(model):
    for chunk in model.stream_chat([ChatMessage("count to three")]):
        yield chunk.delta


def use_tool(model):
    async def run():
        return await FunctionAgent(tools=[get_weather], llm=model).run("weather in Oslo")

    yield str(asyncio.run(run()))


def call(make, ask):
    return lambda: ask(make())


KINDS = {"plain": plain, "stream": stream, "tool": use_tool}
answer_for({f"{id} {kind}": call(make, ask) for id, make in MODELS.items() for kind, ask in KINDS.items()})
