"""A provider's error reaches the program as the SDK's own exception, as if Keyside were not there.
"""

import pytest

from conftest import STALE
from harness import calls, complaints
from harness.calls import EACH_CALL, Call

STREAMS = pytest.mark.parametrize("call", [call for call in calls.CALLS if call.streams], ids=lambda call: call.name)


@EACH_CALL
@pytest.mark.parametrize(("prompt", "status"), [("be rate limited", 429), ("break down", 500)])
def an_error_is_the_sdks_own_exception_word_for_word(call: Call, prompt, status, through_keyside, directly, arrived):
    outcome = calls.make(call, through_keyside(call.provider, retries=0), prompt)
    without = calls.make(call, directly(call.provider, retries=0), prompt)

    assert type(outcome.error) is complaints.expected_type(call.provider, status)
    assert complaints.status_of(outcome.error) == status
    assert str(outcome.error) == str(without.error)
    assert len(arrived(call.provider)) == 1


@EACH_CALL
def a_stored_key_that_the_provider_rejects_is_an_authentication_error(call: Call, through_keyside, directly):
    outcome = calls.make(call, through_keyside(call.provider, STALE), "count to three")
    without = calls.make(call, directly(call.provider, api_key="a-wrong-key"), "count to three")

    assert type(outcome.error) is complaints.expected_type(call.provider, 401)
    assert str(outcome.error) == str(without.error)
    assert "Invalid API key" in str(outcome.error)


@STREAMS
def a_stream_that_the_provider_cuts_is_cut_at_the_same_place(call: Call, through_keyside, directly):
    outcome = calls.make(call, through_keyside(call.provider), "stop half way")
    without = calls.make(call, directly(call.provider), "stop half way")

    assert outcome.pieces == without.pieces
    assert "This answer is long" in outcome.text
    assert type(outcome.error) is type(without.error)
    assert str(outcome.error) == str(without.error)
    assert isinstance(outcome.error, Exception)


@EACH_CALL
def a_malformed_body_is_passed_on_as_it_is(call: Call, through_keyside, directly):
    outcome = calls.make(call, through_keyside(call.provider), "talk nonsense")
    without = calls.make(call, directly(call.provider), "talk nonsense")

    assert outcome.pieces == without.pieces == []
    assert type(outcome.error) is type(without.error)
    assert str(outcome.error) == str(without.error)


@EACH_CALL
def a_provider_that_hangs_up_is_a_server_error_that_says_so(call: Call, through_keyside, arrived):
    outcome = calls.make(call, through_keyside(call.provider, retries=0), "hang up")

    assert type(outcome.error) is complaints.expected_type(call.provider, 502)
    assert "upstream_unreachable" in complaints.details_of(outcome.error)
    assert len(arrived(call.provider)) == 1, "a request body is delivered at most once"


def the_retries_are_the_sdks_own_and_keyside_adds_none(through_keyside, arrived):
    with through_keyside("openai", retries=1).to_openai() as client, pytest.raises(calls.openai.InternalServerError):
        client.chat.completions.create(model=calls.GPT, messages=[{"role": "user", "content": "break down"}])

    assert [request["headers"]["x-stainless-retry-count"] for request in arrived("openai")] == ["0", "1"]
