"""Starts `keyside serve` and waits until it is ready. Needs no package, so that scripts can use it too."""

import json
from collections.abc import Mapping
from pathlib import Path

from harness.child import Child


def serving(
    binary: str | Path, folder: Path, environment: Mapping[str, str], within: float = 60
) -> tuple[Child, dict[str, str]]:
    """`keyside serve` in the folder, and the addresses that it logs once it is ready."""
    child = Child([binary, "serve", "--config", "keyside.toml"], env=environment, cwd=folder)
    try:
        return child, child.stderr.first(ready, within)
    except AssertionError:
        child.stop()
        raise


def ready(line: bytes) -> dict[str, str] | None:
    """The fields of the log line with the addresses, if this is that line."""
    fields = _fields(line)
    return fields if fields.get("message") == "ready" else None


def waiting(line: bytes) -> dict[str, str] | None:
    """The same for the line that says why it is not ready yet."""
    fields = _fields(line)
    return fields if fields.get("message", "").startswith("waiting for the key service") else None


def _fields(line: bytes) -> dict[str, str]:
    try:
        return dict(json.loads(line)["fields"])
    except (ValueError, KeyError, TypeError):
        return {}
