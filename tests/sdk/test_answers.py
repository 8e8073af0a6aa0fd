"""An unmodified program with a dummy key gets its response, and the upstream cannot detect Keyside.
"""

import re

import httpx2
import openai
import pytest
from google.genai.errors import ClientError

from conftest import DUMMY_KEY, GOOD, TAG_FORMS
from harness import calls
from harness.aimock import ANSWER
from harness.calls import EACH_CALL, Call, Way

PROMPT = "count to three"


@EACH_CALL
@pytest.mark.parametrize("tag", TAG_FORMS)
def a_program_with_a_dummy_key_gets_the_whole_answer(call: Call, tag, through_keyside, arrived):
    outcome = calls.make(call, through_keyside(call.provider, tag=tag), PROMPT)

    assert outcome.error is None
    assert outcome.text == ANSWER
    assert len(outcome.pieces) > 1 or not call.streams
    assert len(arrived(call.provider)) == 1


@EACH_CALL
def a_stream_arrives_in_the_pieces_that_the_provider_sent(call: Call, through_keyside, directly):
    outcome = calls.make(call, through_keyside(call.provider), PROMPT)

    assert outcome.pieces == calls.make(call, directly(call.provider), PROMPT).pieces


def a_program_on_the_unix_socket_is_answered_too(keyside):
    http_client = openai.DefaultHttpxClient(transport=httpx2.HTTPTransport(uds=str(keyside.socket)))
    way = Way(f"http://keyside/w/{GOOD}/openai", DUMMY_KEY)

    with way.to_openai().with_options(http_client=http_client) as client:
        assert client.responses.create(model=calls.GPT, input=PROMPT).output_text == ANSWER


def the_answer_says_which_credential_gave_it(through_keyside):
    with through_keyside("openai").to_openai() as client:
        answer = client.chat.completions.with_raw_response.create(
            model=calls.GPT, messages=[{"role": "user", "content": PROMPT}]
        )

    assert answer.headers["X-Keyside-Credential"].startswith("cred_")
    assert answer.headers["X-Keyside-Credential-Label"] == "default"
    assert answer.headers["X-Keyside-Environment"] == "live"
    assert answer.headers["X-Keyside-Request-Id"]
    assert answer.parse().choices[0].message.content == ANSWER


@EACH_CALL
def the_provider_sees_the_program_and_not_keyside(call: Call, stage, through_keyside, arrived):
    """Keyside removes the tag, proxy headers and the loopback address; the SDK's own headers are
    forwarded."""
    selectors = {"X-Keyside-Label": "default", "X-Keyside-Run": "run-1", "X-Keyside-Tag": "nightly"}
    way = through_keyside(call.provider, GOOD, tag="header", headers={**selectors, "Cookie": "session=1"})

    assert calls.make(call, way, PROMPT).error is None
    (request,) = arrived(call.provider)
    headers = request["headers"]
    assert stage.providers[call.provider].url == f"http://{headers['host']}"
    assert not [name for name in headers if name.startswith("x-keyside-")]
    assert not {"via", "forwarded", "x-forwarded-for", "x-forwarded-host", "cookie"} & headers.keys()
    assert re.match(r"(Async)?(OpenAI|AzureOpenAI|Anthropic)/Python |google-genai-sdk/", headers["user-agent"])


def the_v1_api_of_azure_takes_the_plain_openai_client(through_keyside, arrived):
    way = through_keyside("azure-openai")

    with Way(f"{way.origin}/openai", DUMMY_KEY, way.headers).to_openai() as client:
        assert client.responses.create(model=calls.GPT, input=PROMPT).output_text == ANSWER
    assert [request["path"] for request in arrived("azure-openai")] == ["/openai/v1/responses"]


def gemini_with_the_sdk_s_default_version_is_forwarded_too(through_keyside):
    """The SDK's default is /v1, which Gemini has but aimock does not: the response is aimock's 404.
    """
    with through_keyside("gemini").to_gemini(api_version=None) as client, pytest.raises(ClientError, match="Not found"):
        client.models.generate_content(model=calls.GEMINI, contents=PROMPT)
