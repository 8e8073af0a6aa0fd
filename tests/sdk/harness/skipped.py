"""A pytest plugin: the last lines of a run report the tests that were skipped, because a skipped
test proves nothing."""


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = sorted({report.longrepr[2].removeprefix("Skipped: ") for report in skipped})
    terminalreporter.section(f"{len(skipped)} TESTS DID NOT RUN", sep="!", red=True, bold=True)
    for reason in reasons:
        terminalreporter.line(reason, red=True)
