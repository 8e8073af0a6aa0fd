"""What runs for the suite: Keyside, with a workspace for each kind of key, and the providers, real or not."""

import json
import os
import shutil
import urllib.parse
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from contract import COUNTS, Interaction, Provider
from exchange import Answer, ask, converse
from harness.aimock import Aimock
from harness.canary import canary
from harness.keyside import Keyside, binary
from harness.web import eventually
from relay import Arrived, Relay
from sentinel import Sentinel

SUITE = Path(__file__).parent
#: The workspace of each kind of key.
WORKSPACES = {"good": "acme", "wrong": "stale", "none": "empty"}


@dataclass(frozen=True)
class Mode:
    """Whether the suite asks aimock or the providers themselves."""

    live: bool
    expected: tuple[str, ...]
    """Providers whose key must be there."""

    def missing(self, provider: Provider) -> str | None:
        """Why this provider cannot be asked."""
        if not self.live:
            return None
        unset = [name for name in provider.variables if not os.environ.get(name)]
        return f"{' and '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set" if unset else None


def mode() -> Mode:
    expected = os.environ.get("KEYSIDE_CONTRACT_EXPECT", "").replace(",", " ").split()
    return Mode(os.environ.get("KEYSIDE_CONTRACT_LIVE") == "1", tuple(expected))


@dataclass
class Stage:
    folder: Path
    mode: Mode
    providers: list[Provider]
    sentinel: Sentinel | None = None
    aimock: Aimock | None = None
    keyside: Keyside | None = None
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    """The good key of each provider."""
    wrong_keys: dict[str, str] = field(default_factory=dict, repr=False)
    relays: dict[str, Relay] = field(default_factory=dict)

    def start(self) -> "Stage":
        self.keys = {provider.id: self._key(provider) for provider in self.providers}
        self.sentinel = Sentinel()
        tables = _real_providers(self.providers) if self.mode.live else self._stand_ins()
        self.keyside = Keyside(binary(), self.folder, {}, tables)
        for workspace in WORKSPACES.values():
            self.keyside.add_workspace(workspace)
        for provider in self.providers:
            self.wrong_keys[provider.id] = canary(provider.data["credential"]["prefix"])
            self.keyside.add_key(WORKSPACES["good"], provider.id, self.keys[provider.id])
            self.keyside.add_key(WORKSPACES["wrong"], provider.id, self.wrong_keys[provider.id])
        return self

    def stop(self):
        try:
            for running in (self.keyside, *self.relays.values(), self.aimock, self.sentinel):
                if running:
                    running.stop()
        finally:
            shutil.rmtree(self.folder)  # real keys, and what decrypts them

    def keeps(self, interaction: Interaction):
        """Makes one interaction and checks the response, what arrived at the provider, and the run record."""
        run = uuid.uuid4().hex
        relay = self.relays.get(interaction.provider.id)
        if relay:
            relay.prepare(interaction.more_usage)
        answer = self._exchange(interaction, run)
        problems = interaction.problems(answer)
        assert not problems, "; ".join(problems)
        if relay:
            self._assert_arrived(interaction, relay.arrived)
        self._assert_recorded(interaction, answer, run)

    def _exchange(self, interaction: Interaction, run: str) -> Answer:
        origin = f"{self.keyside.proxy}/w/{WORKSPACES[interaction.key]}/{interaction.provider.id}"
        headers = {"X-Keyside-Run": run, **interaction.headers}
        if socket := interaction.socket:
            return converse(f"{origin}{interaction.path}", headers, socket["send"], socket["until"])
        return ask(f"{origin}{interaction.path}", interaction.method, headers, interaction.body)

    def _assert_arrived(self, interaction: Interaction, arrived: list[Arrived]):
        """The provider received the client's request once, with the workspace's key where it wants it, and no other."""
        if interaction.key == "none":
            assert arrived == [], "a refused request reached the provider"
            return
        (request,) = arrived
        place = interaction.provider.data["credential"]
        key = (self.keys if interaction.key == "good" else self.wrong_keys)[interaction.provider.id]
        below = interaction.provider.data.get("below", "")
        assert (request.method, request.target) == (interaction.method, f"{below}{interaction.path}")
        assert request.credentials == {place["header"]: [place["value"].replace("{key}", key)]}
        assert [name for name, _ in request.headers if name.startswith("x-keyside")] == []
        for name, value in interaction.provider.data.get("always_sent", {}).items():
            assert request.values(name) == [value]
        if not interaction.socket:
            assert request.json() == interaction.body

    def _assert_recorded(self, interaction: Interaction, answer: Answer, run: str):
        """The run record has the provider's own counts; what the provider did not report is unknown, and not 0."""
        assert eventually(lambda: len(self._runs(run)) == 1), f"{len(self._runs(run))} run records"
        (record,) = self._runs(run)
        keyless = interaction.key == "none"
        expected = {
            "workspaceId": WORKSPACES[interaction.key],
            "provider": interaction.provider.id,
            "label": None if keyless else "default",
            "environment": None if keyless else "live",
            "status": answer.status,
            "outcome": interaction.outcome,
            "requestId": answer.headers["x-keyside-request-id"],
        }
        assert {name: record.get(name) for name in expected} == expected
        assert {count: record.get(f"{count}Tokens") for count in COUNTS} == interaction.usage(answer)

    def _runs(self, run: str) -> list[dict]:
        return json.loads(self.keyside.ask_admin(f"/api/runs?{urllib.parse.urlencode({'runId': run})}"))["items"]

    def _key(self, provider: Provider) -> str:
        return os.environ[provider.variables[0]] if self.mode.live else canary(provider.data["credential"]["prefix"])

    def _stand_ins(self) -> dict[str, dict]:
        """One aimock for all, and a relay for each provider, which records what arrives."""
        self.aimock = Aimock(*self.keys.values(), suite=SUITE)
        for provider in self.providers:
            self.relays[provider.id] = Relay(self.aimock.url, provider.data.get("aimock_paths", {}))
        tables = {f"providers.{id}": {"base_url": relay.url} for id, relay in self.relays.items()}
        return {"egress": {"proxy": self.sentinel.url}, **tables}


def _real_providers(providers: list[Provider]) -> dict[str, dict]:
    """Their own addresses, but for those that the environment names."""
    tables = {}
    for provider in providers:
        endpoint = os.environ.get(provider.data["live"].get("endpoint", ""))
        endpoint = os.environ.get(f"KEYSIDE_CONTRACT_URL_{provider.environment_name}", endpoint)
        if endpoint:
            tables[f"providers.{provider.id}"] = {"base_url": endpoint.rstrip("/")}
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    return {"egress": {"proxy": proxy}, **tables} if proxy else tables
