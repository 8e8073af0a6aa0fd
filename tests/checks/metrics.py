#!/usr/bin/env python3
"""Metrics are the same in the sources, in docs/, in the alerts and in the dashboard.

- docs/OPERATING.md lists every metric that the sources register, and no other.
- Every metric and label in charts/keyside/files/alerts.yaml, its tests and dashboard.json exists.
- Every alert has a severity, texts, a test that fires it and one that does not, and a runbook: a heading in
  docs/STANDARD_WORKFLOW.md.

Exit code 0 when all hold, 1 with a line for each that does not. docs.py compares the documented labels with those that
the binary exposes.
"""

import json
import re
import sys

from markdown import Page
from report import report
from repository import ROOT

PREFIX = r"(?:keyside|integration_credentials?|credential_rotations|provider_smoke)"
#: How a source names a metric: the first argument of `Opts::new` and the like, followed by the help text.
REGISTERED = re.compile(rf'"({PREFIX}_[a-z0-9_]+)",\s*(?:"|\[)')
MENTIONED = re.compile(rf"\b({PREFIX}_[a-z0-9_]+)\b")
DOCUMENTED = re.compile(rf"`({PREFIX}_[a-z0-9_]+)(?:\{{([a-z_,]+)\}})?`")
SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")
MATCHERS = re.compile(rf"({PREFIX}_[a-z0-9_]+)\{{([^}}]*)\}}")
MATCHER = re.compile(r"(\w+)\s*[=!]")
GROUPED = re.compile(rf"\bby\s*\(([^)]*)\)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
#: Labels that Prometheus adds.
ADDED = {"instance", "job", "le"}
PROCESS = {"process_resident_memory_bytes"}
ALERT = re.compile(r"^      - alert: (\w+)\n(.*?)(?=^      - alert:|^  - name:|\Z)", re.MULTILINE | re.DOTALL)
RUNBOOK = re.compile(r"runbook_url: https://\S+/docs/STANDARD_WORKFLOW\.md#(\S+)")
TESTED = re.compile(r"^ +alertname: (\w+)\n( +exp_alerts:)?", re.MULTILINE)


def registered(sources):
    return {name for text in sources for name in REGISTERED.findall(text.partition("#[cfg(test)]")[0])}


def documented(page):
    """{metric: labels} of the tables of metrics."""
    rows = Page("docs/OPERATING.md", page).rows
    return {name: set(filter(None, labels.split(","))) for row in rows for name, labels in DOCUMENTED.findall(row.cells[0])}


def series(expression):
    """Each metric in an expression or a test's series."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    return set(MENTIONED.findall(outside))


def unknown(place, expression, known):
    """The metrics and labels of an expression that do not exist."""
    def base(name):
        short = SUFFIXES.sub("", name)
        return short if short in known and name not in known else name

    for name in sorted(series(expression)):
        if base(name) not in known:
            yield f"{place}: there is no metric {name}"
    uses = [(name, MATCHER.findall(re.sub(r'"[^"]*"', '""', inner))) for name, inner in MATCHERS.findall(expression)]
    for names, inner in GROUPED.findall(expression):
        uses += [(name, [label.strip() for label in names.split(",")]) for name in series(inner)]
    for name, labels in uses:
        for label in labels:
            if base(name) in known and label not in known[base(name)] | ADDED:
                yield f"{place}: {name} has no label {label}"


def of_documentation(sources, page):
    code, known = registered(sources), documented(page)
    for name in sorted(code ^ known.keys()):
        yield f"{name} is {'not in docs/OPERATING.md' if name in code else 'in docs/OPERATING.md, and nothing registers it'}"


def of_alerts(alerts, tests, workflow, known):
    headings = Page("docs/STANDARD_WORKFLOW.md", workflow).anchors
    fired, quiet = set(), set()
    for name, fires in TESTED.findall(tests):
        (fired if fires else quiet).add(name)
    rules = ALERT.findall(alerts)
    for name, body in rules:
        expression = re.search(r"^        expr: (.*)$", body, re.MULTILINE)
        yield from unknown(name, expression[1] if expression else "", known)
        if not re.search(r"^          severity: (?:critical|warning)$", body, re.MULTILINE):
            yield f"{name}: no severity (critical or warning)"
        for text in ("summary", "description"):
            if not re.search(rf"^          {text}: \S", body, re.MULTILINE):
                yield f"{name}: no {text}"
        runbook = RUNBOOK.search(body)
        if not runbook or runbook[1] not in headings:
            yield f"{name}: its runbook_url leads to no heading of docs/STANDARD_WORKFLOW.md"
        if name not in fired:
            yield f"{name}: no test in tests/alerts fires it"
        if name not in quiet:
            yield f"{name}: no test in tests/alerts shows when it does not fire"
    for name in sorted((fired | quiet) - {name for name, _ in rules}):
        yield f"tests/alerts: there is no alert {name}"
    if not rules:
        yield "charts/keyside/files/alerts.yaml has no alert that this check can read"


def of_dashboard(dashboard, known):
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        yield "dashboard: two panels have the same id"
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            place = f"dashboard: {panel['title']}"
            yield from unknown(place, target["expr"], known)
            if not series(target["expr"]) | set(re.findall(r"\bprocess_\w+", target["expr"])) & PROCESS:
                yield f"{place}: no metric in {target['expr']}"
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            yield from unknown(f"dashboard: {label}", f'{metric}{{{label}="x"}}', known)
    drawn = {SUFFIXES.sub("", name) for panel in dashboard["panels"] for target in panel.get("targets", []) for name in series(target["expr"])}
    for name in sorted(known.keys() - drawn):
        yield f"dashboard: no panel shows {name}"


def main():
    read = lambda path: (ROOT / path).read_text(encoding="utf-8")
    sources = [file.read_text(encoding="utf-8") for folder in ("src", "proxy/src") for file in sorted((ROOT / folder).rglob("*.rs"))]
    known = documented(read("docs/OPERATING.md"))
    tests = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "tests/alerts").glob("*.yaml")))
    found = [
        *of_documentation(sources, read("docs/OPERATING.md")),
        *of_alerts(read("charts/keyside/files/alerts.yaml"), tests, read("docs/STANDARD_WORKFLOW.md"), known),
        *of_dashboard(json.loads(read("charts/keyside/files/dashboard.json")), known),
    ]
    return report("metrics", found, f"{len(known)} metrics")


if __name__ == "__main__":
    sys.exit(main())
