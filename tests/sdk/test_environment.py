"""An unmodified program: two environment variables make it use Keyside."""

import anthropic
import openai
import pytest
from google import genai

from conftest import DUMMY_KEY, GOOD
from harness import calls
from harness.aimock import ANSWER

PROMPT = "count to three"


def two_variables_point_openai_at_keyside(keyside, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"{keyside.proxy}/w/{GOOD}/openai/v1")
    monkeypatch.setenv("OPENAI_API_KEY", DUMMY_KEY)

    with openai.OpenAI() as client:
        assert client.responses.create(model=calls.GPT, input=PROMPT).output_text == ANSWER


def two_variables_point_anthropic_at_keyside(keyside, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{keyside.proxy}/w/{GOOD}/anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", DUMMY_KEY)

    assert _ask_anthropic() == ANSWER


def two_variables_and_a_version_point_azure_at_keyside(keyside, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{keyside.proxy}/w/{GOOD}/azure-openai")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", DUMMY_KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")

    with openai.AzureOpenAI() as client:
        completion = client.chat.completions.create(model=calls.GPT, messages=[{"role": "user", "content": PROMPT}])
    assert completion.choices[0].message.content == ANSWER


def two_variables_and_a_version_point_gemini_at_keyside(keyside, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"{keyside.proxy}/w/{GOOD}/gemini")
    monkeypatch.setenv("GEMINI_API_KEY", DUMMY_KEY)
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "beta")

    with genai.Client() as client:
        assert client.models.generate_content(model=calls.GEMINI, contents=PROMPT).text == ANSWER


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def the_workspace_can_come_from_the_custom_headers_variable(sdk, keyside, monkeypatch):
    suffix = "/v1" if sdk == "openai" else ""
    monkeypatch.setenv(f"{sdk.upper()}_BASE_URL", f"{keyside.proxy}/{sdk}{suffix}")
    monkeypatch.setenv(f"{sdk.upper()}_API_KEY", DUMMY_KEY)
    monkeypatch.setenv(f"{sdk.upper()}_CUSTOM_HEADERS", f"X-Keyside-Workspace: {GOOD}")

    if sdk == "anthropic":
        assert _ask_anthropic() == ANSWER
    else:
        with openai.OpenAI() as client:
            assert client.responses.create(model=calls.GPT, input=PROMPT).output_text == ANSWER


def _ask_anthropic() -> str:
    with anthropic.Anthropic() as client:
        message = client.messages.create(
            model=calls.CLAUDE, max_tokens=256, messages=[{"role": "user", "content": PROMPT}]
        )
    return message.content[0].text
