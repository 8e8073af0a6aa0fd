"""Keyside's load on Vault: one sign-in per process, no read per request, and a fast start with many
keys."""

import itertools
import time
from datetime import datetime

from harness.web import eventually
from rival import Rival
from sidecar import POLL, declared, needs

pytestmark = needs("proxy")

KEYS = 200
#: Seconds from the start of the process until it is ready, on a machine that does nothing else.
START = 2.0


def two_hundred_declared_keys_are_ready_within_two_seconds_after_one_sign_in(corner, start, provider):
    credentials = []
    for number in range(KEYS):
        provider.good.add(corner.new_key(f"team-{number}/openai"))
        credentials.append(declared(corner.source(f"team-{number}/openai"), workspace=f"team-{number}"))
    login = corner.login()
    login.settings["poll"] = "30s"

    with Rival() as rival:
        begun = time.monotonic()
        sidecar = start(credentials, login).becomes_ready(within=60)
        took = time.monotonic() - begun

    assert sidecar.ask(f"team-{KEYS - 1}").status == 200
    assert corner.audited().count("auth/approle/login") == 1
    assert took < START * rival.slowness, f"{took} s, where all takes {rival.slowness} times longer"


def no_request_reads_from_vault_or_signs_in(corner, start, provider):
    provider.good = {corner.new_key()}
    login = corner.login()
    login.settings["poll"] = "1h"
    sidecar = start(corner.source(), login).becomes_ready()
    before = corner.audited()

    for _ in range(50):
        assert sidecar.ask().status == 200
    assert corner.audited() == before
    assert before.count("auth/approle/login") == 1
    assert before.count(f"{corner.mount}/data/acme/openai") == 1


def each_request_has_an_id_that_vaults_audit_log_can_record(corner, start, provider):
    header = "X-Keyside-Request-Id"
    corner.bao.ask("PUT", f"sys/config/auditing/request-headers/{header}", {"hmac": False})
    provider.good = {corner.new_key()}
    start(corner.source(), corner.login()).becomes_ready()

    entries = [entry["request"] for entry in corner.bao.audited() if entry["type"] == "request"]
    ids = [id for request in entries for id in request.get("headers", {}).get(header.lower(), [])]
    assert len(ids) >= 3, "a sign-in, a mount and a key"
    assert len(set(ids)) == len(ids)
    assert all(id.startswith("req_") for id in ids)


def a_key_that_does_not_change_is_not_read_again(corner, start, provider):
    """Keyside polls only the version: Vault's audit log records every read of a key, and should
    contain few."""
    provider.good = {corner.new_key()}
    sidecar = start(corner.source(), corner.login()).becomes_ready()

    polled = f"{corner.mount}/metadata/acme/openai"
    with sidecar.load(runners=1):
        assert eventually(lambda: corner.audited().count(polled) >= 5)
    asked = corner.audited()
    assert asked.count(f"{corner.mount}/data/acme/openai") == 1
    assert asked.count(f"sys/internal/ui/mounts/{corner.mount}/acme/openai") <= 1
    # The shortest pause: a busy machine lengthens some.
    polls = [datetime.fromisoformat(entry["time"]) for entry in corner.bao.audited() if _asks(entry, polled)]
    assert min((later - earlier).total_seconds() for earlier, later in itertools.pairwise(polls)) < 2 * POLL


def _asks(entry: dict, path: str) -> bool:
    return entry["type"] == "request" and entry["request"]["path"] == path
