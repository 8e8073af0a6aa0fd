"""Every command of every document runs, or documents.toml says why it is not run here."""

import re

import pytest

from pages import dangers, documents, table
from reader import Reader
from repository import ROOT

DOCUMENTS = {path: [command for _, command in page.commands] for path, page in documents().items()}
TABLE = table()
FOLLOWED = [path for path in DOCUMENTS if path in TABLE and not TABLE[path].run_by]


def every_document_with_commands_is_in_the_table():
    assert DOCUMENTS.keys() == TABLE.keys()


def the_table_says_nothing_about_commands_that_are_gone():
    assert {path: stale for path, commands in DOCUMENTS.items() if (stale := list(TABLE[path].stale(commands)))} == {}


def every_test_that_the_table_names_exists():
    said = [text for row in TABLE.values() for text in [*row.not_run.values(), row.run_by or ""]]
    named = {name.rstrip(".;,") for text in said for name in re.findall(r"tests/\S+", text)}
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", FOLLOWED)
def the_commands_of_a_page_run_in_its_order(path: str, reader: Reader):
    row = TABLE[path]
    for command in DOCUMENTS[path]:
        if not row.reason(command):
            own = reader.adapted(command, row)
            assert not list(dangers(own)), f"documents.toml has to say why it is not run, or what is different here: {command}"
            reader.prepare(row.state(command))
            reader.run(own)


@pytest.mark.parametrize("command", ["sudo ls", "cat x && apt-get install y", "cat <(reboot)", 'cat "x', "cat $(docker ps -q)", "A=1 make test", "cat x > /etc/x"])
def what_may_change_this_machine_is_not_run(command: str):
    assert list(dangers(command))


def a_command_that_fails_is_found(reader: Reader):
    with pytest.raises(AssertionError, match="exits with 7"):
        reader.run("exit 7")


def a_command_that_shows_a_key_is_found(reader: Reader):
    with pytest.raises(AssertionError, match="a key is shown"):
        reader.run("cat new-key")
