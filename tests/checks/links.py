#!/usr/bin/env python3
"""Every relative link in the Markdown files leads to a file that is there, and to a heading that is
in it. Every picture of docs/pictures is in one of them, and together they are light."""

import pathlib
import re
import sys

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|\bsrc(?:set)?=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SKIPPED = {"target", ".git", ".venv", "node_modules"}
PICTURES = "docs/pictures"
# Every clone has them.
PICTURES_KB = 600


def anchors(text):
    """GitHub's anchors: lower case, punctuation dropped, spaces to hyphens."""
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        yield plain.replace(" ", "-")


def violations(root):
    shown = set()
    for file in sorted(root.rglob("*.md")):
        if SKIPPED & set(file.relative_to(root).parts):
            continue
        text = FENCE.sub(lambda match: "\n" * match.group().count("\n"), file.read_text(encoding="utf-8"))
        for match in LINK.finditer(text):
            link = match.group(1) or match.group(2)
            target, _, anchor = link.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            place = f"{file.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            aim = (file.parent / target) if target else file
            if not aim.exists():
                yield f"{place}: {link}: no such file"
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8")):
                yield f"{place}: {link}: no such heading"
            shown.add(aim.resolve())
    pictures = sorted((root / PICTURES).glob("*"))
    for picture in pictures:
        if picture.resolve() not in shown:
            yield f"{picture.relative_to(root)}: in no Markdown file"
    size = sum(picture.stat().st_size for picture in pictures) // 1000
    if size > PICTURES_KB:
        yield f"{PICTURES}: {size} kB, more than {PICTURES_KB}"


def main():
    found = list(violations(pathlib.Path(__file__).parents[2]))
    for problem in found:
        print(f"links: {problem}", file=sys.stderr)
    if not found:
        print("links: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
