#!/usr/bin/env python3
"""docs/CONFIGURATION.md names every setting of config/defaults.toml with its default.

Exit code 0 if it does, 1 with a line for each that is missing or differs.
"""

import json
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
HEADING = re.compile(r"`\[([\w.<>-]+)\]`")
ROW = re.compile(r"^\| `([\w.]+)` \| (.*?) \|", re.MULTILINE)


def leaves(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)


def documented(page):
    """{setting: what its row says in the column of defaults}; a row's key may leave out its
    heading's one section."""
    found, sections = {}, []
    for line in page.splitlines():
        if line.startswith("#"):
            sections = HEADING.findall(line)
        elif match := ROW.match(line):
            key, default = match.groups()
            named = len(sections) != 1 or key.startswith(f"{sections[0]}.")
            found[key if named else f"{sections[0]}.{key}"] = default
    return found


def violations(defaults, page):
    rows = documented(page)
    for key, default in leaves(defaults):
        if key not in rows:
            yield f"{key} is not in docs/CONFIGURATION.md"
        elif rows[key] != f"`{default}`":
            yield f"{key}: docs/CONFIGURATION.md says {rows[key]}, config/defaults.toml `{default}`"


def main():
    defaults = tomllib.loads((ROOT / "config" / "defaults.toml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    found = list(violations(defaults, page))
    for problem in found:
        print(f"settings: {problem}", file=sys.stderr)
    if not found:
        print(f"settings: ok ({len(list(leaves(defaults)))} settings)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
