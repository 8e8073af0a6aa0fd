"""Command-line clients, each as its recipe configures it: the recipe's example unchanged, a stream,
and a tool."""

import re
from dataclasses import dataclass

import pytest

import environments
import recipes
from conftest import ANSWER, GOOD, REFUSALS, TOOL_ANSWER, Home

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: In the client's working folder; the fake model calls a tool that reads it.
NOTE = "snow in Oslo\n"
#: The pieces in which aimock streams the answer; some clients print each piece in a line of JSON.
PIECES = ("One, two, three, as", "the stand-in counts.")


@dataclass(frozen=True)
class Command:
    """Arguments that make a client print a stream, and use a tool."""

    id: str
    stream: str | None = None
    tool: str | None = None
    """None if the client offers a model no tools."""
    repeats: frozenset[str] = frozenset()
    """Refusals that the client retries for a minute before it shows them, so the tests skip them;
    see README.md."""


LLM_TOOL = "llm -m gpt-4o --functions 'def get_weather(city: str): return \"snow in \" + city' 'weather in Oslo'"
COMMANDS = (
    Command("llm", stream="llm -m claude-sonnet-4.5 'count to three'", tool=LLM_TOOL),
    Command(
        "claude-code",
        stream="claude -p --output-format stream-json --verbose --include-partial-messages 'count to three'",
        tool="claude -p --allowedTools Bash -- 'weather in Oslo'",
    ),
    Command(
        "codex",
        stream="codex exec --skip-git-repo-check --json 'count to three'",
        # For its default model, Codex offers one tool in a special format, which aimock cannot
        # call.
        tool="codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox -m gpt-5 'weather in Oslo'",
    ),
    Command(
        "gemini-cli",
        stream="gemini --skip-trust -o stream-json -p 'count to three'",
        tool="gemini --skip-trust -p 'weather in Oslo'",
    ),
    Command(
        "aider",
        stream="aider --no-git --model anthropic/claude-sonnet-4-5 --message 'count to three'",
        repeats=frozenset({"path_not_allowed"}),
    ),
)
QUICK = ("llm",)


def _mark(command: Command):
    return pytest.mark.quick if command.id in QUICK else pytest.mark.slow


EACH = pytest.mark.parametrize(
    "command", [pytest.param(command, id=command.id, marks=_mark(command)) for command in COMMANDS]
)


@EACH
def the_example_prints_the_answer(command: Command, stage, home):
    filled = recipes.load(command.id).fill(GOOD, stage.keyside.proxy)
    home.set_up(filled)
    for language, text in filled.examples:
        assert language == "sh"

        said = _succeed(command, home, text)

        assert said.count(ANSWER) >= text.strip().count("\n") + 1, said
    stage.assert_only_the_real_key_arrived()


@EACH
def streams_and_tools_work_behind_a_corporate_proxy(command: Command, stage, home, corporate_proxy):
    home.set_up(recipes.load(command.id).fill(GOOD, stage.keyside.proxy))
    home.variables |= corporate_proxy
    (home.work / "note.txt").write_text(NOTE)

    streamed = _succeed(command, home, command.stream)
    for piece in PIECES:
        assert piece in streamed
    if command.tool:
        assert TOOL_ANSWER in _succeed(command, home, command.tool)
    stage.assert_only_the_real_key_arrived()


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        pytest.param(command, refusal, id=f"{command.id}-{refusal.code}", marks=_mark(command))
        for command in COMMANDS
        for refusal in REFUSALS
        if refusal.code not in command.repeats
    ],
)
def a_refusal_s_message_is_shown_to_the_user(command: Command, refusal, stage, home):
    filled = recipes.load(command.id).fill(GOOD, base=refusal.base(stage.keyside.proxy))
    home.set_up(filled)

    done = _run(command, home, filled.examples[0][1])

    assert refusal.text in _plain(done.stdout + done.stderr)
    stage.assert_nothing_arrived()


def _succeed(command: Command, home: Home, text: str) -> str:
    done = _run(command, home, text)
    assert done.returncode == 0, done.stdout + done.stderr
    return _plain(done.stdout)


def _run(command: Command, home: Home, text: str):
    return home.run("sh", "-e", "-c", text, programs=environments.programs(command.id))


def _plain(said: str) -> str:
    """Without colours and line breaks."""
    return " ".join(ESCAPES.sub("", said).split())
