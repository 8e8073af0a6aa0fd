"""Steps 1, 3, 5 and 6 of Keyside's original manual checklist, in one test: with the command line,
and a program with the real SDK."""

import csv
import io
import json

import openai
import pytest

from conftest import DUMMY_KEY, binary
from harness.aimock import ANSWER, Aimock
from harness.canary import canary
from harness.keyside import PUBLIC_URL, Keyside
from harness.web import eventually

WORKSPACE = "qa"


@pytest.fixture
def aimock():
    provider = Aimock(canary("sk-proj-"), canary("sk-proj-"))
    yield provider
    provider.stop()


@pytest.fixture
def own_keyside(tmp_path, aimock):
    keyside = Keyside(binary(), tmp_path, {"openai": aimock.url})
    yield keyside
    keyside.stop()


def adding_rotating_and_revoking_a_key_is_audited(own_keyside, aimock):
    keyside, (first, second) = own_keyside, aimock.keys
    keyside.command("workspace", "add", WORKSPACE)

    # 1. Add credential: it is active, no plaintext is shown, and the audit log has it.
    added = _key(keyside, "add", "-w", WORKSPACE, "-p", "openai", "-l", "QA Sandbox", "-e", "sandbox", given=first)
    assert (added["label"], added["status"], added["lastRotatedAt"]) == ("QA Sandbox", "active", None)
    assert [record["event"] for record in _records(keyside, added["id"])] == ["credential_created"]
    assert _ask(keyside) == ANSWER

    # 3. Rotate credential: `lastRotatedAt` moves, the new key is used, and earlier runs keep their
    #    reference.
    rotated = _key(keyside, "rotate", added["id"], given=second)
    assert rotated["lastRotatedAt"] is not None
    assert rotated["fingerprint"] != added["fingerprint"]
    assert [version["state"] for version in rotated["versions"]] == ["grace", "current"]
    assert _ask(keyside) == ANSWER
    runs = _runs(keyside, 2)
    assert [(run["credentialId"], run["label"]) for run in runs] == [(added["id"], "QA Sandbox")] * 2

    # 5. Revoke credential: the next call fails with an explicit error and a link to the remedy.
    assert _key(keyside, "revoke", added["id"], "--yes")["status"] == "revoked"
    with pytest.raises(openai.AuthenticationError) as refused:
        _ask(keyside)
    assert refused.value.code == "credential_revoked"
    assert "revoked" in refused.value.message
    assert refused.value.body["remediation"].startswith(PUBLIC_URL)

    # 6. Audit review: the export has each change with who made it and the fingerprint of the
    #    secret.
    changes = [
        ("credential_created", added["fingerprint"]),
        ("credential_rotated", rotated["fingerprint"]),
        ("credential_revoked", rotated["fingerprint"]),
    ]
    records = _records(keyside, added["id"])
    assert [(record["event"], record["fingerprint"]) for record in records[:3]] == changes
    assert all(record["actor"].startswith("tok_") for record in records[:3])
    table = keyside.command("audit", "export", "-w", WORKSPACE, "--format", "csv")
    in_table = [(row["event"], row["fingerprint"]) for row in csv.DictReader(io.StringIO(table))]
    assert [row for row in in_table if row in changes] == changes
    keyside.command("audit", "verify")


def _key(keyside: Keyside, *arguments: str, given: str = "") -> dict:
    stdin = ["--stdin"] if given else []
    printed = keyside.command("key", *arguments, *stdin, "--json", given=given)
    assert given not in printed or not given
    return json.loads(printed)


def _records(keyside: Keyside, credential: str) -> list[dict]:
    exported = keyside.command("audit", "export", "--key", credential)
    lines = [json.loads(line) for line in exported.splitlines()]
    assert "end" in lines[-1], "the export is complete"
    return [line for line in lines if "event" in line]


def _runs(keyside: Keyside, count: int) -> list[dict]:
    """Runs are written asynchronously, so this polls until they are there."""
    recorded = lambda: json.loads(keyside.ask_admin("/api/runs?kind=traffic"))["items"]
    assert eventually(lambda: len(recorded()) >= count)
    return recorded()


def _ask(keyside: Keyside) -> str:
    client = openai.OpenAI(base_url=f"{keyside.proxy}/w/{WORKSPACE}/openai/v1", api_key=DUMMY_KEY)
    said = [{"role": "user", "content": "count to three"}]
    return client.chat.completions.create(model="gpt-4o", messages=said).choices[0].message.content
