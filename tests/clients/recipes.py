"""The recipes in config/recipes/, read as data and filled in as `keyside env` does."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "config/recipes"
ADDRESS = "http://127.0.0.1:7380"
DUMMY = "keyside"
#: Printed in addition to a recipe's own variables, unless it says `no_proxy = false`.
NO_PROXY = {"NO_PROXY": "localhost,127.0.0.1,::1"}

_PLACEHOLDER = re.compile(r"\{([a-z0-9-]+)\}")


@dataclass(frozen=True)
class Filled:
    """A recipe for one workspace at one address: variables, files and commands."""

    variables: dict[str, str]
    unset: list[str]
    files: dict[str, str]
    """Contents by path; a path begins with `~/` or is relative to the client's working folder."""
    examples: list[tuple[str, str]]
    """Language and text."""


@dataclass(frozen=True)
class Recipe:
    id: str
    data: dict

    @property
    def providers(self) -> list[str]:
        return self.data["providers"]

    @property
    def texts(self) -> list[str]:
        """Everything that may hold placeholders."""
        tables = (("variable", "value"), ("file", "text"), ("example", "text"))
        texts = [entry[field] for table, field in tables for entry in self.data.get(table, ())]
        return texts + self.data.get("notes", []) + [self.data.get("install", "")]

    def placeholders(self) -> set[str]:
        return {name for text in self.texts for name in _PLACEHOLDER.findall(text)}

    def fill(self, workspace: str, address: str = ADDRESS, base: Callable[[str], str] | None = None) -> Filled:
        """`base` builds a provider's (wrong) base URL from its id."""
        base = base or (lambda provider: f"{address}/w/{workspace}/{provider}")
        values = {"workspace": workspace, "address": address, "dummy": DUMMY}
        values |= {provider: base(provider) for provider in self.providers}

        def filled(text: str) -> str:
            return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)

        return Filled(
            {entry["name"]: filled(entry["value"]) for entry in self.data.get("variable", ())},
            self.data.get("unset", []),
            {entry["path"]: filled(entry["text"]) for entry in self.data.get("file", ())},
            [(entry["language"], filled(entry["text"])) for entry in self.data.get("example", ())],
        )


def every() -> list[Recipe]:
    return [load(file.stem) for file in sorted(FOLDER.glob("*.toml"))]


def load(id: str) -> Recipe:
    return Recipe(id, tomllib.loads((FOLDER / f"{id}.toml").read_text(encoding="utf-8")))
