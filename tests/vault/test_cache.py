"""The sealed cache: a sidecar that restarts during an outage serves requests until `vault.outage`
is over."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.canary import leaks
from harness.web import PATIENCE, eventually
from logins import Login, write_secret
from sidecar import AT_ONCE, GONE, UNKNOWN, Settings, Sidecar, command, needs
from slow import Fault

pytestmark = needs("proxy")

#: After an outage Keyside retries with a backoff, so this takes longer than a poll.
RECOVERED = PATIENCE
FROM_CACHE = "keyside_declared_credential_from_cache"


@pytest.fixture
def cache(folder, canaries) -> Settings:
    """Settings of `[vault]` that name a cache, with its key in place."""
    key = command("master-key", "generate", cwd=folder).stdout.strip()
    canaries.append(key)
    write_secret(folder / "cache-key", key)
    return {"cache": str(folder / "cache"), "cache_key_file": str(folder / "cache-key")}


def a_sidecar_that_is_killed_during_an_outage_serves_again_and_says_from_where(
    mortal_corner, cache, start, provider, canaries
):
    key = mortal_corner.new_key()
    provider.good = {key}
    login = _with(mortal_corner.login(), cache)
    first = start(mortal_corner.source(), login).becomes_ready()
    assert eventually(lambda: _files(cache)), first.log()[-4000:]
    assert _value(first, FROM_CACHE) == 0
    doctor = {found["name"]: found for found in json.loads(first.command("doctor", "--json").stdout)}
    assert doctor["vault cache"]["state"] == "ok", doctor
    assert "1 of 1" in doctor["vault cache"]["message"], doctor

    mortal_corner.bao.kill()
    first.kill()
    for file in _files(cache):
        assert file.stat().st_mode & 0o777 == 0o600
        found = [disguise for secret in canaries for disguise in leaks(secret, file.read_bytes())]
        assert found == [], file
        for visible in (mortal_corner.mount, "api_key", mortal_corner.bao.address):
            assert visible.encode() not in file.read_bytes(), visible
    assert Path(cache["cache"]).stat().st_mode & 0o777 == 0o700

    second = start(mortal_corner.source(), login).becomes_ready()
    answer = second.ask()
    assert (answer.status, provider.seen[-1]) == (200, key)
    assert answer.seconds < AT_ONCE
    assert "vault.cache" in second.readiness()[1], second.readiness()
    assert mortal_corner.bao.address in second.readiness()[1], "the reason is named"
    assert _value(second, FROM_CACHE) == 1
    assert eventually(lambda: "from_cache_until" in second.log())

    with second.load() as load:
        mortal_corner.bao.start()
        mortal_corner.bao.unseal()
        following = mortal_corner.new_key()
        provider.good.add(following)
        assert provider.saw(following, within=RECOVERED)
    load.assert_nobody_noticed()
    assert eventually(lambda: _value(second, FROM_CACHE) == 0)
    assert "vault.cache" not in second.readiness()[1], second.readiness()


@pytest.mark.slow
def cached_keys_are_refused_and_deleted_when_the_allowed_outage_is_over(mortal_corner, cache, start, provider):
    provider.good = {mortal_corner.new_key()}
    login = _with(mortal_corner.login(), cache, outage="15s", timeout="1s")
    first = start(mortal_corner.source(), login).becomes_ready()
    assert eventually(lambda: _files(cache)), first.log()[-4000:]
    mortal_corner.bao.kill()
    first.kill()

    second = start(mortal_corner.source(), login).becomes_ready(within=8)
    assert second.ask().status == 200
    assert second.refuses(UNKNOWN, within=20), second.ask()
    assert second.ask().seconds < AT_ONCE
    assert eventually(lambda: not _files(cache)), _files(cache)
    second.kill()

    third = start(mortal_corner.source(), login).is_up()
    assert third.ask().refusal in UNKNOWN
    assert third.readiness()[0] == 503

    mortal_corner.bao.start()
    mortal_corner.bao.unseal()
    third.becomes_ready(within=RECOVERED)
    assert third.ask().status == 200
    assert eventually(lambda: _files(cache)), "it is kept again"


def a_key_deleted_in_vault_is_deleted_from_the_cache(mortal_corner, cache, start, provider):
    provider.good = {mortal_corner.new_key()}
    login = _with(mortal_corner.login(), cache)
    first = start(mortal_corner.source(), login).becomes_ready()
    assert eventually(lambda: _files(cache)), first.log()[-4000:]
    mortal_corner.bao.ask("DELETE", f"{mortal_corner.mount}/data/acme/openai")
    assert first.refuses(GONE), first.ask()
    assert eventually(lambda: not _files(cache)), _files(cache)
    mortal_corner.bao.kill()
    first.kill()

    second = start(mortal_corner.source(), login).is_up()
    assert second.ask().refusal in UNKNOWN
    assert second.readiness()[0] == 503


def a_key_that_changed_while_keyside_was_down_is_used_from_the_first_request(corner, cache, start, provider):
    corner.new_key()
    login = _with(corner.login(), cache)
    first = start(corner.source(), login).becomes_ready()
    assert eventually(lambda: _files(cache)), first.log()[-4000:]
    first.kill()

    following = corner.new_key()
    provider.good = {following}
    second = start(corner.source(), login).becomes_ready()
    assert second.ask().status == 200
    assert provider.seen == [following]


def a_cache_that_cannot_be_read_in_time_delays_no_key(corner, cache, start, provider):
    provider.good = {corner.new_key()}
    os.mkfifo(disk := corner.folder / "disk")
    Path(cache["cache"]).mkdir(mode=0o700)
    (file := Path(cache["cache"]) / "vault-secrets").touch()
    library = corner.folder / "slow_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("slow_disk.c")], check=True)
    environment = {"LD_PRELOAD": str(library), "SLOW_DISK": str(disk)}
    sidecar = start(corner.source(), _with(corner.login(), cache), environment=environment).is_up()
    try:
        assert eventually(lambda: sidecar.ask().status == 200), sidecar.readiness()
        assert eventually(lambda: "it was not read within" in sidecar.log()), sidecar.log()[-4000:]
    finally:
        # The disk responds: to the thread that waits for it, and to the commands that are run at the end.
        responds = os.open(disk, os.O_RDWR | os.O_NONBLOCK)
        disk.unlink()
        os.close(responds)
    assert eventually(lambda: file.stat().st_size > 0), "the cache is written"


@pytest.mark.parametrize("damage", ["bytes", "folder"])
def an_unusable_cache_is_reported_and_does_not_prevent_a_start(damage, corner, cache, start, provider, before_bao):
    provider.good = {corner.new_key()}
    login = _with(corner.login(), cache)
    login.settings["address"] = before_bao.address
    first = start(corner.source(), login).becomes_ready()
    assert eventually(lambda: _files(cache)), first.log()[-4000:]
    first.kill()
    match damage:
        case "bytes":
            [file] = _files(cache)
            *rest, last = file.read_bytes()
            file.write_bytes(bytes([*rest, last ^ 1]))
        case "folder":
            Path(cache["cache"]).chmod(0o755)

    before_bao.fault = Fault(status=503)
    second = start(corner.source(), login).is_up()
    assert eventually(lambda: cache["cache"] in second.readiness()[1]), second.readiness()
    assert second.ask().refusal in UNKNOWN
    assert _value(second, "keyside_vault_cache_failed") == 1
    assert eventually(lambda: cache["cache"] in second.log())

    before_bao.fault = Fault()
    second.becomes_ready(within=RECOVERED)
    assert second.ask().status == 200
    if damage == "bytes":
        assert eventually(lambda: _value(second, "keyside_vault_cache_failed") == 0), second.readiness()


def a_key_of_the_cache_that_others_can_read_stops_the_start_and_the_check(corner, cache, start):
    Path(cache["cache_key_file"]).chmod(0o644)
    sidecar = start(corner.source(), _with(corner.login(), cache))
    assert eventually(lambda: sidecar.ended is not None)
    assert sidecar.ended == 78
    for said in (sidecar.log(), sidecar.command("check").stderr):
        assert "vault.cache_key_file" in said, said
        assert "chmod 600" in said, said


def _with(login: Login, cache: Settings, **more: str) -> Login:
    login.settings |= {**cache, **more}
    return login


def _files(cache: Settings) -> list[Path]:
    folder = Path(cache["cache"])
    return sorted(file for file in folder.glob("*") if not file.name.endswith(".new")) if folder.is_dir() else []


def _value(sidecar: Sidecar, metric: str) -> float | None:
    """The only series of a metric."""
    lines = [line for line in sidecar.metrics().splitlines() if line.startswith((f"{metric}{{", f"{metric} "))]
    return float(lines[0].rpartition(" ")[2]) if len(lines) == 1 else None
