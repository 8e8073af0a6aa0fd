"""LangChain's chat models, configured only by the environment."""

from asked import answer_for
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

MODELS = {
    "openai": lambda: ChatOpenAI(model="gpt-4o"),
    "anthropic": lambda: ChatAnthropic(model="claude-sonnet-4-5"),
    "gemini": lambda: ChatGoogleGenerativeAI(model="gemini-2.5-flash"),
}


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"snow in {city}"


def plain(model):
    yield model.invoke("count to three").text


def stream(model):
    for chunk in model.stream("count to three"):
        yield chunk.text


def use_tool(model):
    model = model.bind_tools([get_weather])
    messages = [HumanMessage("weather in Oslo")]
    messages.append(model.invoke(messages))
    messages += [get_weather.invoke(call) for call in messages[-1].tool_calls]
    yield model.invoke(messages).text


def call(make, ask):
    return lambda: ask(make())


KINDS = {"plain": plain, "stream": stream, "tool": use_tool}
answer_for({f"{id} {kind}": call(make, ask) for id, make in MODELS.items() for kind, ask in KINDS.items()})
