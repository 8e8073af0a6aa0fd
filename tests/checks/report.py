"""How a check ends: with a line for each problem, or with one that says how much is right."""

import sys
import tomllib

from repository import ROOT


def report(check, problems, sound=""):
    """Prints them; returns the exit code: 1 if there are problems."""
    problems = list(problems)
    for problem in problems:
        print(f"{check}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{check}: ok" + (f" ({sound})" if sound else ""))
    return 1 if problems else 0


def tables(folder):
    """{the file's name without its ending: its contents} of the TOML files in a folder."""
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted((ROOT / folder).glob("*.toml"))}


def generated(check, page, folder, write):
    """Compares a page with what `write` makes of the files in a folder; with `--write`, replaces the page."""
    sources = tables(folder)
    text = write(sources)
    if "--write" in sys.argv[1:]:
        (ROOT / page).write_text(text, encoding="utf-8")
    is_current = (ROOT / page).exists() and (ROOT / page).read_text(encoding="utf-8") == text
    problems = [] if is_current else [f"{page} differs from {folder}: run this with --write"]
    return report(check, problems, f"{len(sources)} in {folder}")
