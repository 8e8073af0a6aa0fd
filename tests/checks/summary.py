#!/usr/bin/env python3
"""Prints how long each part of a log took, and adds up the test runners' results in a last line:
`N passed, N failed`.

Recognises the lines of tests/checks/timed, and the summaries of cargo-nextest, of libtest
(documentation examples), of pytest and of node's test runner.
"""

import pathlib
import re
import sys

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
CLOSING = (
    re.compile(r"^\s*Summary \[.*\] .*tests? run: "),  # cargo-nextest
    re.compile(r"^test result: "),  # libtest
    re.compile(r"^=+ .*\b(?:passed|failed|error)s?\b.* in [\d.]+s.*=+$"),  # pytest
    re.compile(r"^\d+ (?:passed|failed|errors?)\b.* in [\d.]+s"),  # pytest --quiet
    re.compile(r"^(?:#|ℹ) (?:pass|fail) \d+$"),  # node --test
)
FAILED = re.compile(r"(\d+) (?:failed|timed out|exec failed|errors?)\b|\bfail (\d+)$")
TOOK = re.compile(r"^took: (\S+) (\d+) s(, failed)?$", re.MULTILINE)
PASSED = re.compile(r"(\d+) passed\b|\bpass (\d+)$")


def count(pattern, line):
    return sum(int(first or second) for first, second in pattern.findall(line))


def totals(text):
    """(the summary lines, tests passed, tests failed) of a log."""
    lines = [line.strip() for line in ESCAPES.sub("", text).splitlines()]
    closing = [line for line in lines if any(pattern.search(line) for pattern in CLOSING)]
    return closing, sum(count(PASSED, line) for line in closing), sum(count(FAILED, line) for line in closing)


def durations(text):
    """A line for each part of a log, the longest first: seconds, name, and whether it failed. Parts may overlap."""
    parts = sorted(TOOK.findall(text), key=lambda part: -int(part[1]))
    return [f"{seconds:>5} s  {name}{failed}" for name, seconds, failed in parts]


def main():
    log = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")
    closing, passed, failed = totals(log)
    print("\n".join(["", *closing, "", *durations(log), "", f"{passed} passed, {failed} failed"]))


if __name__ == "__main__":
    main()
