"""Token usage is read from each provider's own format while the response passes, and counted once.
"""

import pytest

from harness import calls, web
from harness.aimock import TOKENS
from harness.calls import Call

PROMPT = "count to three"

#: A chat stream reports its usage only on request, and programs need not request it.
TELLING = [call for call in calls.CALLS if not (call.streams and "-chat-" in call.name)]


@pytest.mark.parametrize("call", TELLING, ids=lambda call: call.name)
def the_tokens_that_the_provider_reports_are_counted_once(call: Call, keyside, through_keyside):
    before = keyside.tokens(call.provider)

    assert calls.make(call, through_keyside(call.provider), PROMPT).error is None

    _assert_counted(keyside, call.provider, before)


def a_chat_stream_is_counted_when_the_program_asks_for_usage(keyside, through_keyside):
    before = keyside.tokens("openai")

    with through_keyside("openai").to_openai() as client:
        chunks = list(
            client.chat.completions.create(
                model=calls.GPT,
                messages=[{"role": "user", "content": PROMPT}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )

    assert chunks[-1].usage.prompt_tokens == TOKENS["input"]
    _assert_counted(keyside, "openai", before)


def _assert_counted(keyside, provider: str, before: dict[str, int]):
    after = {direction: before[direction] + TOKENS[direction] for direction in TOKENS}
    web.eventually(lambda: keyside.tokens(provider) == after)
    assert keyside.tokens(provider) == after
