"""Libraries, each as its recipe configures it: the recipe's example unchanged, and a program that
makes every call."""

import json
import shutil
from collections.abc import Callable

import pytest

import environments
import recipes
from conftest import ANSWER, GOOD, REFUSALS, TOOL_ANSWER, Home
from recipes import Recipe
from upstream import SUITE

#: The providers that each library is run with.
LIBRARIES = {
    "boto3": "python",
    "langchain": "python",
    "litellm": "python",
    "llamaindex": "python",
    "openai-agents": "python",
    "pydantic-ai": "python",
    "vercel-ai-sdk": "javascript",
}
KINDS = ("plain", "stream", "tool")
#: Streamed text that differs from the answer: for Bedrock a tool's input; its program says why.
STREAMED = {"bedrock": '{"city":"Oslo"}'}

EACH = pytest.mark.parametrize("library", LIBRARIES)
pytestmark = pytest.mark.quick


@EACH
def the_example_prints_the_answer(library, stage, home):
    recipe = recipes.load(library)
    filled = recipe.fill(GOOD, stage.keyside.proxy)
    home.set_up(filled)
    for language, text in filled.examples:
        assert language == LIBRARIES[library]

        done = _run(library, home, text)

        assert done.returncode == 0, done.stderr
        assert ANSWER in done.stdout, done.stderr
    stage.assert_only_the_real_key_arrived()


@EACH
def calls_are_answered_and_refusals_are_read_behind_a_corporate_proxy(library, stage, home, corporate_proxy):
    """One process for both: importing the library takes most of the time."""
    recipe, address = recipes.load(library), stage.keyside.proxy
    home.set_up(recipe.fill(GOOD, address))
    home.variables |= corporate_proxy
    every_call = [f"{provider} {kind}" for provider in recipe.providers for kind in KINDS]
    plain_calls = [f"{provider} plain" for provider in recipe.providers]

    calls = _task(recipe, f"{address}/w/{GOOD}/{{}}".format, every_call)
    refused = [_task(recipe, refusal.base(address), plain_calls) for refusal in REFUSALS]
    said = iter(_ask(library, home, calls, *refused))

    for provider in recipe.providers:
        for kind, whole in ("plain", ANSWER), ("stream", STREAMED.get(provider, ANSWER)), ("tool", TOOL_ANSWER):
            report = next(said)
            assert "".join(report["pieces"]) == whole, (provider, kind, report)
    for refusal in REFUSALS:
        for provider in recipe.providers:
            report = next(said)
            assert refusal.text in (report["error"] or ""), (refusal.code, provider, report)
    stage.assert_only_the_real_key_arrived(*recipe.providers)


def botocore_sends_no_bearer_token_over_http(stage, home):
    """The reason why the recipe has access keys, and says that the token must be unset."""
    filled = recipes.load("boto3").fill(GOOD, stage.keyside.proxy)
    home.set_up(filled)
    home.variables["AWS_BEARER_TOKEN_BEDROCK"] = recipes.DUMMY

    done = _run("boto3", home, filled.examples[0][1])

    assert "Bearer authorization requires an HTTPS endpoint" in done.stderr
    stage.assert_nothing_arrived()


def _task(recipe: Recipe, base: Callable[[str], str], calls: list[str]) -> dict:
    """Calls with the recipe's variables; code that passes the base URL reads it from `BASE_…`."""
    variables = {f"BASE_{provider.upper()}": base(provider) for provider in recipe.providers}
    return {"variables": variables | recipe.fill(GOOD, base=base).variables, "calls": calls}


def _ask(library: str, home: Home, *tasks: dict) -> list[dict]:
    """The report of the library's program for each call, in order."""
    suffix = {"python": "py", "javascript": "mjs"}[LIBRARIES[library]]
    program = (SUITE / f"programs/ask_{library}.{suffix}").read_text()
    shutil.copy(SUITE / "programs/asked.py", home.work)
    done = _run(library, home, program, given="".join(f"{json.dumps(task)}\n" for task in tasks))
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"call"')]
    assert len(reports) == sum(len(task["calls"]) for task in tasks), done.stdout + done.stderr
    return reports


def _run(library: str, home: Home, program: str, given: str = ""):
    programs = environments.programs(library)
    if LIBRARIES[library] == "python":
        (home.work / "program.py").write_text(program)
        return home.run(programs / "python", "program.py", programs=programs, given=given)
    (home.work / "program.mjs").write_text(program)
    modules = home.work / "node_modules"
    if not modules.exists():
        modules.symlink_to(programs.parent)
    return home.run("node", "program.mjs", programs=programs, given=given)
