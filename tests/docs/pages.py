"""The commands of a document, and what documents.toml says about them."""

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A block of commands; in a `console` block the commands are the lines after `$ `.
BLOCK = re.compile(r"^( *)```(sh|bash|shell|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
#: A table; in a column whose heading begins with "command", each piece of code is a command.
TABLE = re.compile(r"^\|.*\n\|[-|: ]+\n(?:\|.*\n)+", re.MULTILINE)
BAR = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"`([^`]+)`")
COMMENT = re.compile(r"(?:^|\s+)#\s.*$")


def documents() -> list[str]:
    """Every Markdown file of the repository that has commands."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split() if commands(path)]


def commands(path: str) -> list[str]:
    """The commands of a page, in order and without comments."""
    return [command for block in _blocks((ROOT / path).read_text()) for command in block]


def section(path: str, heading: str) -> list[list[str]]:
    """The commands of each block and table of a section."""
    return _blocks((ROOT / path).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0])


def _blocks(text: str) -> list[list[str]]:
    found = [(match.start(), list(_of(match[2], match[3]))) for match in BLOCK.finditer(text)]
    found += [(match.start(), _in_table(match[0])) for match in TABLE.finditer(text)]
    return [block for _, block in sorted(found) if block]


def _of(language: str, block: str):
    lines = [line.strip() for line in block.splitlines()]
    if language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    gathered = ""
    for line in lines:
        gathered += line if line.endswith("\\") else COMMENT.sub("", line)
        if gathered.endswith("\\"):
            gathered = gathered.removesuffix("\\")
        elif not _is_complete(gathered):
            gathered += "\n"
        elif gathered:
            yield gathered
            gathered = ""
    assert not gathered, f"a command that does not end: {gathered}"


def _in_table(table: str) -> list[str]:
    heading, _, *rows = [[cell.strip() for cell in BAR.split(line)[1:-1]] for line in table.splitlines()]
    columns = [column for column, name in enumerate(heading) if name.startswith("command")]
    return [code.replace("\\|", "|") for row in rows for column in columns for code in CODE.findall(row[column])]


def _is_complete(command: str) -> bool:
    """Whether bash can parse it: no quote or brace is open."""
    return subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode == 0


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
