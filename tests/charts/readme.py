"""The table of values in the chart's README, from the comments in values.yaml: a line that begins with `# --` describes the value
below it, and a line that begins with `##` is a heading."""

import json
import re

import yaml

BEGIN, END = "<!-- values: generated from values.yaml by tests/charts/run.sh --write -->", "<!-- end of values -->"
KEY = re.compile(r"^( *)([\w.-]+):")


def entries(text: str):
    """(heading, path, description or None, default) of each value: those with a description, and leaves without one."""
    values = yaml.safe_load(text)
    heading, described, path, covered = "", None, [], None
    for line in text.splitlines():
        stripped = line.strip()
        if line.startswith("## "):
            heading = line[3:]
        elif stripped.startswith("# -- "):
            described = stripped[5:]
        elif stripped.startswith("# ") and described:
            described += " " + stripped[2:]
        elif match := KEY.match(line):
            depth = len(match[1]) // 2
            path = [*path[:depth], match[2]]
            if covered and path[: len(covered)] == covered:
                continue
            default = values
            for key in path:
                default = default[key]
            covered = path if described else None
            if described or not isinstance(default, dict) or not default:
                yield heading, ".".join(path), described, default
            described = None


def undescribed(text: str) -> list[str]:
    return [path for _, path, description, _ in entries(text) if description is None]


def table(text: str) -> str:
    lines, last = [], None
    for heading, path, description, default in entries(text):
        if heading != last:
            lines += ["", f"### {heading}", "", "| value | default | |", "|---|---|---|"]
            last = heading
        shown = json.dumps(default, separators=(", ", ": ")).replace("|", "\\|")
        lines.append(f"| `{path}` | `{shown}` | {description} |")
    return "\n".join(lines) + "\n"


def with_values(readme: str, text: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(text)}\n{END}{after}"
