"""One call of one SDK, by a program that has its address and key only from the environment.

Arguments: the SDK, and as JSON the options in code that Keyside printed. Prints the response's
text. Regions, API versions and models are constants of this program.
"""

import json
import sys

SAID = [{"role": "user", "content": "count to three"}]
CHAT = {"model": "a-model", "messages": SAID}
MESSAGE = {**CHAT, "max_tokens": 64}
REGION = "us-east-1"


def openai(**options):
    from openai import OpenAI

    return OpenAI(**options).chat.completions.create(**CHAT).choices[0].message.content


def openai_responses(**options):
    from openai import OpenAI

    return OpenAI(**options).responses.create(model="a-model", input="count to three").output_text


def openai_azure(**options):
    from openai import AzureOpenAI

    client = AzureOpenAI(api_version="2024-10-21", **options)
    return client.chat.completions.create(**CHAT).choices[0].message.content


def anthropic(**options):
    from anthropic import Anthropic

    return Anthropic(**options).messages.create(**MESSAGE).content[0].text


def anthropic_bedrock(**options):
    from anthropic import AnthropicBedrock

    return AnthropicBedrock(aws_region=REGION, **options).messages.create(**MESSAGE).content[0].text


def boto3(**options):
    import boto3

    client = boto3.client("bedrock-runtime", region_name=REGION, **options)
    answer = client.converse(modelId="a-model", messages=[{"role": "user", "content": [{"text": "count to three"}]}])
    return answer["output"]["message"]["content"][0]["text"]


def google_genai(**options):
    from google import genai

    with genai.Client(**options) as client:
        return client.models.generate_content(model="a-model", contents="count to three").text


def mistralai(**options):
    from mistralai.client import Mistral

    return Mistral(**options).chat.complete(**CHAT).choices[0].message.content


def cohere(**options):
    from cohere import ClientV2

    return ClientV2(**options).chat(**CHAT).message.content[0].text


def groq(**options):
    from groq import Groq

    return Groq(**options).chat.completions.create(**CHAT).choices[0].message.content


def together(**options):
    from together import Together

    return Together(**options).chat.completions.create(**CHAT).choices[0].message.content


def fireworks_ai(**options):
    from fireworks import Fireworks

    return Fireworks(**options).chat.completions.create(**CHAT).choices[0].message.content


def perplexityai(**options):
    from perplexity import Perplexity

    return Perplexity(**options).chat.completions.create(**CHAT).choices[0].message.content


def openrouter(**options):
    from openrouter import OpenRouter

    return OpenRouter(**options).chat.send(**CHAT).choices[0].message.content


sdk, options = sys.argv[1:]
print(globals()[sdk](**json.loads(options)))
