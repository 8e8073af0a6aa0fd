#!/usr/bin/env python3
"""Every relative link in the Markdown files leads to a file that is there, and to a heading that is
in it."""

import pathlib
import re
import sys

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SKIPPED = {"target", ".git", ".venv", "node_modules"}


def anchors(text):
    """GitHub's anchors: lower case, punctuation dropped, spaces to hyphens."""
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        yield plain.replace(" ", "-")


def violations(root):
    for file in sorted(root.rglob("*.md")):
        if SKIPPED & set(file.relative_to(root).parts):
            continue
        text = FENCE.sub(lambda match: "\n" * match.group().count("\n"), file.read_text(encoding="utf-8"))
        for match in LINK.finditer(text):
            target, _, anchor = match.group(1).partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            place = f"{file.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            aim = (file.parent / target) if target else file
            if not aim.exists():
                yield f"{place}: {match.group(1)}: no such file"
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8")):
                yield f"{place}: {match.group(1)}: no such heading"


def main():
    found = list(violations(pathlib.Path(__file__).parents[2]))
    for problem in found:
        print(f"links: {problem}", file=sys.stderr)
    if not found:
        print("links: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
