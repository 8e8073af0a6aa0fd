"""A provider's contract, read from `providers/`, and the check that an interaction keeps it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange import DONE, Answer
from shapes import mismatches

FOLDER = Path(__file__).parent / "providers"
#: Counts that aimock does not report, by the kind of API: see `relay.py`.
MORE_USAGE: dict[str, dict] = json.loads((Path(__file__).parent / "fixtures/usage.json").read_text())
#: A run record's counts, as the contracts name them, without `Tokens`.
COUNTS = ("input", "output", "cachedInput", "cacheWrite", "reasoning")


@dataclass(frozen=True)
class Provider:
    """One provider: where its key goes, and its interactions."""

    id: str
    data: dict

    @property
    def variables(self) -> tuple[str, ...]:
        """What a live run needs in the environment: the key, and the endpoint if the provider has no fixed one."""
        live = self.data["live"]
        return tuple(live[name] for name in ("key", "endpoint") if name in live)

    @property
    def model(self) -> str:
        return os.environ.get(f"KEYSIDE_CONTRACT_MODEL_{self.environment_name}", self.data["model"])

    @property
    def environment_name(self) -> str:
        return self.id.upper().replace("-", "_")

    def interactions(self, live: bool) -> "list[Interaction]":
        if live and not self.data["live"]:
            return []
        mode = "live" if live else "aimock"
        return [
            Interaction(self, data if live else {**data, **data.get("aimock", {})})
            for data in self.data["interactions"]
            if data.get("only", mode) == mode
        ]


@dataclass(frozen=True)
class Interaction:
    """One request and its expected response."""

    provider: Provider
    data: dict

    @property
    def name(self) -> str:
        return f"{self.provider.id}: {self.data['name']}"

    @property
    def key(self) -> str:
        """Which key the workspace has: the `good` one, a `wrong` one, or `none`."""
        return self.data.get("key", "good")

    @property
    def socket(self) -> dict | None:
        return self._filled(self.data.get("socket"))

    @property
    def method(self) -> str:
        return self.data.get("method", "POST")

    @property
    def path(self) -> str:
        return self._filled(self.data["path"])

    @property
    def headers(self) -> dict[str, str]:
        return self.data.get("headers", {})

    @property
    def body(self) -> Any:
        return self._filled(self.data.get("body"))

    @property
    def more_usage(self) -> dict[str, dict]:
        """What the relay adds to aimock's usage."""
        return MORE_USAGE[self.data["aimock_adds"]] if "aimock_adds" in self.data else {}

    @property
    def outcome(self) -> str:
        """The run's outcome: a function of the status, unless the contract names another."""
        status = self.data["status"]
        ends = {2: "ok", 1: "ok", 4: "client_error", 5: "server_error"}
        ended = "rate_limited" if status == 429 else ends[status // 100]
        return self.data.get("outcome", ended)

    def problems(self, answer: Answer) -> list[str]:
        """How the response breaks the contract."""
        expected = self.data
        if answer.status != expected["status"]:
            return [f"the status is {answer.status}, not {expected['status']}: {_codes(answer.events)}"]
        problems = []
        if answer.complete != expected.get("complete", True):
            problems.append(f"the response is {'complete' if answer.complete else 'cut off'}")
        if "socket" not in expected and answer.media_type != (wanted := expected.get("type", "application/json")):
            problems.append(f"its type is {answer.media_type}, not {wanted}")
        if "events" in expected:
            return problems + _stream_problems(answer.events, expected["events"])
        if len(answer.events) != 1:
            return [*problems, f"there are {len(answer.events)} bodies"]
        return problems + mismatches(answer.events[0], expected["response"])

    def usage(self, answer: Answer) -> dict[str, int | None]:
        """What the provider reported in this response; None is unknown."""
        reported = self.data["usage"]
        return {count: _sum(answer.events, reported[count]) if count in reported else None for count in COUNTS}

    def _filled(self, value: Any) -> Any:
        """The value with the provider's model in place of `{model}`."""
        if isinstance(value, str):
            return value.replace("{model}", self.provider.model)
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            return {name: self._filled(item) for name, item in value.items()}
        return value


def every_provider() -> list[Provider]:
    return [Provider(file.stem, json.loads(file.read_text())) for file in sorted(FOLDER.glob("*.json"))]


def _codes(events: list[Any]) -> str:
    """What an error calls itself. Its message may quote the key, so it is not shown."""
    errors = [event.get("error", event) for event in events if isinstance(event, dict)]
    names = ("code", "type", "status")
    codes = [error[name] for error in errors if isinstance(error, dict) for name in names if name in error]
    return ", ".join(map(str, codes)) or "no code"


def _stream_problems(events: list[Any], expected: dict) -> list[str]:
    """A stream: what each event is like, and those that it must have, in this order."""
    problems = []
    for i, event in enumerate(events):
        problems += mismatches(event, expected["each"], f"event {i}") if event != DONE else []
    position = 0
    for shape in expected["in_order"]:
        found = (i for i in range(position, len(events)) if not mismatches(events[i], shape))
        if (at := next(found, None)) is None:
            problems.append(f"no event after the first {position} of {len(events)} is like {json.dumps(shape)}")
            break
        position = at + 1
    if expected.get("ends", True) and not problems and position != len(events):
        problems.append(f"{len(events) - position} events follow the last expected one")
    return problems


def _sum(events: list[Any], terms: str) -> int | None:
    """The sum of the numbers at these paths, each in the last event that has it. A path with `?` may be missing."""
    found = []
    for term in terms.split(" + "):
        values = (_at(event, term.removesuffix("?")) for event in reversed(events))
        value = next((value for value in values if value is not None), None)
        assert value is not None or term.endswith("?"), f"the provider reported no {term}"
        found.append(value)
    counts = [value for value in found if value is not None]
    return sum(counts) if counts else None


def _at(event: Any, path: str) -> int | None:
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    return event
