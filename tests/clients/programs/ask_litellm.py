"""LiteLLM's `completion`, configured only by the environment."""

import json

import litellm
from asked import answer_for

MODELS = {"openai": "openai/gpt-4o", "anthropic": "anthropic/claude-sonnet-4-5", "gemini": "gemini/gemini-2.5-flash"}
GET_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def user(prompt):
    return [{"role": "user", "content": prompt}]


def plain(model):
    yield litellm.completion(model=model, messages=user("count to three")).choices[0].message.content


def stream(model):
    for chunk in litellm.completion(model=model, messages=user("count to three"), stream=True):
        yield chunk.choices[0].delta.content


def use_tool(model):
    messages = user("weather in Oslo")
    message = litellm.completion(model=model, messages=messages, tools=[GET_WEATHER]).choices[0].message
    messages.append(message)
    for call in message.tool_calls:
        result = f"snow in {json.loads(call.function.arguments)['city']}"
        messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": result})
    yield litellm.completion(model=model, messages=messages, tools=[GET_WEATHER]).choices[0].message.content


def call(model, ask):
    return lambda: ask(model)


KINDS = {"plain": plain, "stream": stream, "tool": use_tool}
answer_for({f"{id} {kind}": call(model, ask) for id, model in MODELS.items() for kind, ask in KINDS.items()})
