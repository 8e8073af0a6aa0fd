"""The documents that have commands, what documents.toml says about those, and which of them are harmless."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from commands import ASSIGNMENT, simple
from markdown import Page
from repository import Repository

#: Programs that change nothing outside of the folder that they are given. `systemctl` is the reader's own.
HARMLESS = set("cat cd chmod curl df eval export git keyside mkdir openssl printf python3 source systemctl true umask xdg-open".split())
ABSOLUTE = re.compile(r"(?:^|[\s=>\"'@])/(?!dev/null\b)")
QUOTED = re.compile(r"'[^']*'")


def documents() -> dict[str, Page]:
    """Every Markdown file of the repository that has commands."""
    return {path: page for path, page in Repository.here().documents.items() if page.commands}


def dangers(command: str):
    """Why a command may change something outside of the reader's folder."""
    command = QUOTED.sub("''", command)
    programs = {next((word for word in words if not ASSIGNMENT.fullmatch(word)), "true") for words in simple(command)}
    yield from (f"runs {program}" for program in sorted(programs - HARMLESS))
    if ABSOLUTE.search(command):
        yield "names an absolute path"


@dataclass(frozen=True)
class Row:
    """A document in documents.toml; the maps are from the beginning of commands, or from text in them."""

    start: str
    run_by: str | None
    not_run: dict[str, str]
    before: dict[str, str]
    instead: dict[str, str]

    @classmethod
    def read(cls, start="serving", run_by=None, not_run=None, before=None, instead=None) -> "Row":
        return cls(start, run_by, not_run or {}, before or {}, instead or {})

    def reason(self, command: str) -> str | None:
        """Why the command is not run here."""
        return _longest(self.not_run, command)

    def state(self, command: str) -> str:
        """The state that the command needs."""
        return _longest(self.before, command) or self.start

    def stale(self, commands: list[str]):
        """What the row says about commands that the page does not have."""
        for prefix in [*self.not_run, *self.before]:
            if not any(command.startswith(prefix) for command in commands):
                yield prefix
        for text in self.instead:
            if not any(text in command for command in commands):
                yield text


def _longest(known: dict[str, str], command: str) -> str | None:
    found = [prefix for prefix in known if command.startswith(prefix)]
    return known[max(found, key=len)] if found else None


def table() -> dict[str, Row]:
    rows = tomllib.loads((Path(__file__).parent / "documents.toml").read_text())
    return {path: Row.read(**row) for path, row in rows.items()}
