"""A refusal reaches the program as the SDK's own exception, with our message, and the SDK does not
retry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from conftest import DUMMY_KEY, EMPTY, GOOD, RETIRED, TAG_FORMS
from harness import calls, complaints, web
from harness.calls import EACH_CALL, Call, Way
from harness.keyside import PUBLIC_URL


@dataclass(frozen=True)
class Refusal:
    """A reason to refuse, and how to cause it."""

    code: str
    status: int
    workspace: str
    headers: dict[str, str] = field(default_factory=dict)


REFUSALS = [
    Refusal("credential_missing", 401, EMPTY),
    Refusal("credential_revoked", 401, RETIRED),
    Refusal("workspace_unknown", 400, "nobody"),
    Refusal("label_unknown", 400, GOOD, {"X-Keyside-Label": "no-such-label"}),
]

#: The providers' display names.
NAMES = {"openai": "OpenAI", "azure-openai": "Azure OpenAI", "anthropic": "Anthropic", "gemini": "Gemini"}

#: A call of each SDK that no workflow may make, because it reads or creates keys. Each SDK adds the
#: credential itself.
FORBIDDEN: dict[str, Callable[[Way], Any]] = {
    "openai": lambda way: _admin(way).organization.admin_api_keys.create(name="more"),
    "azure-openai": lambda way: way.to_azure().get("/organization/projects", cast_to=object),
    "anthropic": lambda way: way.to_anthropic().get("/v1/organizations/api_keys", cast_to=object),
    "gemini": lambda way: _make_a_gemini_token(way),
}


@EACH_CALL
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
@pytest.mark.parametrize("tag", TAG_FORMS)
def a_refusal_is_the_sdks_own_exception_and_is_not_retried(call: Call, refusal, tag, keyside, through_keyside, arrived):
    refused_before = keyside.refusals(refusal.code)
    way = through_keyside(call.provider, refusal.workspace, tag=tag, headers=refusal.headers, retries=2)

    outcome = calls.make(call, way, "count to three")

    _assert_refused(outcome.error, call.provider, refusal.code, refusal.status)
    _assert_asked_once(keyside, refusal.code, refused_before)
    assert arrived(call.provider) == []


@pytest.mark.parametrize("provider", FORBIDDEN)
def a_path_outside_the_catalogue_is_refused_with_every_sdk(provider, keyside, through_keyside, arrived):
    refused_before = keyside.refusals("path_not_allowed")

    with pytest.raises(Exception) as raised:
        FORBIDDEN[provider](through_keyside(provider, retries=2))

    _assert_refused(raised.value, provider, "path_not_allowed", 403)
    _assert_asked_once(keyside, "path_not_allowed", refused_before)
    assert arrived(provider) == []


@pytest.mark.parametrize("call", [call for call in calls.CALLS if not call.streams], ids=lambda call: call.name)
def the_message_can_be_acted_on_by_who_reads_only_that(call: Call, through_keyside):
    outcome = calls.make(call, through_keyside(call.provider, EMPTY), "count to three")

    assert f'"{EMPTY}"' in outcome.error.message
    assert NAMES[call.provider] in outcome.error.message


def _admin(way: Way):
    """The part of the OpenAI SDK that requires another kind of key; it gets a dummy, too."""
    return way.to_openai().with_options(admin_api_key=DUMMY_KEY).admin


def _make_a_gemini_token(way: Way):
    with way.to_gemini("v1alpha") as client:
        client.auth_tokens.create()


def _assert_refused(error: Exception | None, provider: str, code: str, status: int):
    details = complaints.details_of(error)
    assert type(error) is complaints.expected_type(provider, status)
    assert complaints.status_of(error) == status
    assert code in details
    assert "remediation" in details and PUBLIC_URL in details
    assert error.response.headers["X-Keyside-Request-Id"] in details


def _assert_asked_once(keyside, code: str, refused_before: int):
    assert web.eventually(lambda: keyside.refusals(code) > refused_before)
    assert keyside.refusals(code) == refused_before + 1
