"""The AWS SDK's Bedrock runtime client, configured only by the environment."""

import boto3
from asked import answer_for

MODEL = "amazon.nova-micro-v1:0"
GET_WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}


def user(text):
    return [{"role": "user", "content": [{"text": text}]}]


def plain():
    answer = boto3.client("bedrock-runtime").converse(modelId=MODEL, messages=user("count to three"))
    yield answer["output"]["message"]["content"][0]["text"]


def stream():
    # Not text: aimock begins a text block with an event that AWS does not send and botocore
    # rejects.
    answer = boto3.client("bedrock-runtime").converse_stream(
        modelId=MODEL, messages=user("weather in Oslo"), toolConfig={"tools": [GET_WEATHER]}
    )
    for event in answer["stream"]:
        yield event.get("contentBlockDelta", {}).get("delta", {}).get("toolUse", {}).get("input")


def use_tool():
    client, messages, tools = boto3.client("bedrock-runtime"), user("weather in Oslo"), {"tools": [GET_WEATHER]}
    asked = client.converse(modelId=MODEL, messages=messages, toolConfig=tools)["output"]["message"]
    uses = [block["toolUse"] for block in asked["content"] if "toolUse" in block]
    results = [
        {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": f"snow in {use['input']['city']}"}]}}
        for use in uses
    ]
    messages += [asked, {"role": "user", "content": results}]
    answer = client.converse(modelId=MODEL, messages=messages, toolConfig=tools)
    yield answer["output"]["message"]["content"][0]["text"]


answer_for({"bedrock plain": plain, "bedrock stream": stream, "bedrock tool": use_tool})
