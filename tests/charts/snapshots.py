"""Snapshots: the objects of `defaults` in full, and for each other case only what its values change."""

import difflib

from chart import SUITE, texts, values_of

FOLDER = SUITE / "snapshots"


def file_of(case: str):
    return FOLDER / f"{case}.{'yaml' if case == 'defaults' else 'diff'}"


def snapshot(case: str) -> str:
    now = texts(values_of(case))
    if case == "defaults":
        return "---\n".join(f"# {name}\n{text}" for name, text in sorted(now.items()))
    base = texts({})
    return "".join(_change(name, base.get(name), now.get(name)) for name in sorted({*base, *now}))


def _change(name: str, before: str | None, after: str | None) -> str:
    if before == after:
        return ""
    if after is None:
        return f"removed: {name}\n"
    if before is None:
        return f"added: {name}\n" + _prefixed("+", after.splitlines())
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    # Without the line numbers, which change with everything above.
    kept = ["@@" if line.startswith("@@") else line for line in lines if not line.startswith(("---", "+++"))]
    return f"changed: {name}\n" + _prefixed("", kept)


def _prefixed(sign: str, lines: list[str]) -> str:
    return "".join(f"{sign}{line}".rstrip() + "\n" for line in lines)
