"""GitHub Actions: the recipe's workflow fits the schema, and its steps work. GitHub's runner is not
used."""

import json

import pytest

import environments
import recipes
from conftest import ANSWER, GOOD

pytestmark = pytest.mark.quick

TO_JSON = "import json, sys; from ruamel.yaml import YAML; json.dump(YAML(typ='safe').load(sys.stdin), sys.stdout)"


def the_workflow_is_valid_and_its_steps_get_the_answer(stage, home):
    programs = environments.programs("github-actions")
    filled = recipes.load("github-actions").fill(GOOD, stage.keyside.proxy)
    [(language, text)] = filled.examples
    assert language == "yaml"
    (home.work / "ask.yml").write_text(text)

    schema = ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", "ask.yml")
    checked = home.run(*schema, programs=programs)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    [job] = json.loads(home.run("python", "-c", TO_JSON, programs=programs, given=text).stdout)["jobs"].values()
    assert job["env"] == filled.variables
    home.variables |= job["env"]
    for step in job["steps"]:
        # As GitHub's runner does for a step without `shell`.
        done = home.run("bash", "-e", "-c", step["run"], programs=programs)
        assert ANSWER in done.stdout, done.stdout + done.stderr
    stage.assert_only_the_real_key_arrived("openai")
