#!/usr/bin/env python3
"""Everything that the documentation names exists: links, headings, commands, flags, settings, variables, metrics, files, paths of the
API, and the names of the sources.

    docs.py [RULE ...]

Asks the binary in KEYSIDE_BIN, by default the debug build. Exit code 0 if all is right, 1 with a line for each problem.
"""

import os
import sys

import commands
import exposed
import links
import names
import pictures
import settings
from report import report
from repository import ROOT, Repository

#: Each rule gets the repository, and the program if its place in the table says so.
RULES = {
    "links": (links.links, False),
    "pictures": (pictures.pictures, False),
    "commands": (commands.commands, True),
    "flags": (commands.flags, True),
    "settings": (settings.defaults, False),
    "keys": (settings.keys, False),
    "blocks": (settings.blocks, True),
    "variables": (names.variables, False),
    "files": (names.files, False),
    "api": (names.api, False),
    "metrics": (names.series, False),
    "exposed": (exposed.exposed, True),
    "vocabularies": (names.vocabularies, False),
    "words": (names.words, False),
}


def binary():
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    path = os.environ.get("KEYSIDE_BIN", f"{target}/debug/keyside")
    if not os.access(path, os.X_OK):
        sys.exit(f"docs: {path} is not there: build it (cargo build), or name another in KEYSIDE_BIN")
    return path


def main():
    chosen = sys.argv[1:] or RULES
    repository = Repository.here()
    program = commands.Program.at(binary()) if any(RULES[name][1] for name in chosen) else None
    found = []
    for name in chosen:
        rule, asks = RULES[name]
        found += [f"{name}: {problem}" for problem in (rule(repository, program) if asks else rule(repository))]
    return report("docs", found, f"{len(repository.pages)} pages; {', '.join(chosen)}")


if __name__ == "__main__":
    sys.exit(main())
