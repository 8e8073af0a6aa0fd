"""What a response must be like: the matching rules of the data files.

An object must have the fields of the shape and may have others, as providers add fields without notice; a field whose
name ends in `?` may be absent. A list has at least one item, and each must match. A string that begins with `$` names
types (`$string|null`), with `~` a regular expression, with `@` a shape in `shapes.json`. All else is a literal.
"""

import json
import re
from pathlib import Path
from typing import Any

SHAPES: dict[str, Any] = json.loads((Path(__file__).parent / "shapes.json").read_text())

_TYPES = {
    "string": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str) and value != "",
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def mismatches(value: Any, shape: Any, at: str = "body") -> list[str]:
    """How `value` differs from `shape`: empty if it matches."""
    if isinstance(shape, dict):
        return _object(value, shape, at)
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return [f"{at} is {_brief(value)}, not a list with items"]
        return [problem for i, item in enumerate(value) for problem in mismatches(item, shape[0], f"{at}[{i}]")]
    if isinstance(shape, str) and shape[:1] in ("@", "$", "~"):
        return _rule(value, shape, at)
    return [] if value == shape and type(value) is type(shape) else [f"{at} is {_brief(value)}, not {_brief(shape)}"]


def _object(value: Any, shape: dict, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at} is {_brief(value)}, not an object"]
    problems = []
    for field, expected in shape.items():
        name = field.removesuffix("?")
        if name in value:
            problems += mismatches(value[name], expected, f"{at}.{name}")
        elif name == field:
            problems.append(f"{at} has no {name}")
    return problems


def _rule(value: Any, rule: str, at: str) -> list[str]:
    if rule.startswith("@"):
        return mismatches(value, SHAPES[rule[1:]], at)
    if rule.startswith("$"):
        matched = any(_TYPES[name](value) for name in rule[1:].split("|"))
    else:
        matched = isinstance(value, str) and re.search(rule[1:], value) is not None
    return [] if matched else [f"{at} is {_brief(value)}, not {rule}"]


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"
