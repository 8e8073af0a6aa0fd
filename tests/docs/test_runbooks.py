"""Each alert's condition arises, and the commands of its runbook end it."""

import datetime
import time
from pathlib import Path

import pytest

from harness.web import eventually
from reader import PROVIDER, Reader
from repository import page

PAGE = "docs/STANDARD_WORKFLOW.md"

SMOKE = "provider_smoke_consecutive_failures"


def _in(**time: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(**time)).isoformat()


@pytest.fixture
def reader(reader: Reader) -> Reader:
    reader.starts()
    return reader


def every_section_of_the_page_has_commands_and_a_test():
    tests = Path(__file__).read_text()
    with_commands = {block.heading for block in page(PAGE).blocks if block.commands}
    _, *sections = page(PAGE).headings
    for heading in sections:
        assert heading in with_commands, f"{heading}: no commands"
        assert f'reader.follow(PAGE, "{heading}")' in tests, f"{heading}: no test"


def an_expired_key_is_replaced_and_its_requests_are_answered_again(reader: Reader):
    reader.add(expiresAt=_in(seconds=5))
    expired = lambda: reader.value("integration_credentials_total", provider=PROVIDER, status="expired")
    assert eventually(lambda: expired() == 1)
    assert reader.request() == 401
    listed, rotated = reader.follow(PAGE, "An expired key")
    assert reader.environment["ID"] in listed and "credential_expired" in listed
    assert "Accepted" in rotated
    assert expired() == 0
    assert reader.request() == 200


def a_key_that_expires_soon_is_replaced_before_that(reader: Reader):
    reader.add(expiresAt=_in(days=5))
    expiring = lambda: reader.value("integration_credentials_total", provider=PROVIDER, status="expiring")
    assert expiring() == 1
    assert reader.request() == 200
    listed, rotated = reader.follow(PAGE, "A key that expires soon")
    assert reader.environment["ID"] in listed
    assert "Accepted" in rotated
    assert expiring() == 0


def a_key_that_its_provider_rejects_is_named_with_its_cause_and_replaced(reader: Reader):
    reader.add()
    reader.provider.good = {reader.new_key}
    assert reader.request() == 401
    rejected = lambda: reader.value("keyside_credentials_traffic", provider=PROVIDER, state="rejected")
    assert eventually(lambda: rejected() == 1)
    shown, rotated = reader.follow(PAGE, "A key that its provider rejects")
    assert "rejected" in shown and "client_error" in shown
    assert "Accepted" in rotated
    assert rejected() == 0
    assert reader.request() == 200


def smoke_checks_that_fail_twice_pass_after_the_rotation(reader: Reader):
    reader.add(environment="sandbox", usageTag="ci-smoke")
    reader.provider.good = {reader.new_key}
    failures = lambda: reader.value(SMOKE, provider=PROVIDER)
    smoke = ["smoke", "-p", PROVIDER]
    assert reader.exit_code(*smoke) == 1
    assert failures() == 1
    found, passed = reader.follow(PAGE, "Smoke checks that fail")
    assert "rejected" in found
    assert "1 passed" in passed
    assert failures() == 0
    assert reader.value("provider_smoke_failures_total", provider=PROVIDER) == 2


def smoke_checks_that_stopped_are_made_by_hand(reader: Reader):
    reader.add(environment="sandbox", usageTag="ci-smoke")
    last = lambda: reader.value("provider_smoke_last_success_timestamp_seconds", provider=PROVIDER)
    assert last() == 0
    (settings,) = reader.follow(PAGE, "Smoke checks that stopped")
    assert "smoke.schedule" in settings
    assert last() > 0


def a_limit_that_is_nearly_used_up_is_explained_and_raised(reader: Reader):
    reader.add(limits={"requestsPerDay": 10})
    for _ in range(10):
        assert reader.request() == 200
    used = lambda: reader.value("keyside_credential_limit_used_ratio", limit="requests")
    assert eventually(lambda: used() == 1)
    assert reader.request() == 403
    spent, _ = reader.follow(PAGE, "A limit that is nearly used up")
    assert "10" in spent
    assert eventually(lambda: used() < 0.9)
    assert reader.request() == 200


def old_keys_are_new_after_their_rotation_and_requests_go_on(reader: Reader):
    reader.add()
    ages = lambda: [reader.value("keyside_key_age_seconds", key=key) for key in ("master", "workspace")]
    assert eventually(lambda: min(ages()) >= 3)
    begun = time.monotonic()
    reader.follow(PAGE, "A master key or workspace key older than a year")
    assert max(ages()) <= time.monotonic() - begun + 1  # ages are whole seconds of the wall clock
    assert reader.request() == 200


def the_commands_about_damage_say_that_a_sound_installation_is_sound(reader: Reader):
    reader.add()
    damaged = [value for name, _, value in reader.series() if name == "keyside_damaged_records"]
    assert damaged and not any(damaged)
    (said,) = reader.follow(PAGE, "Records that fail authentication")
    assert "credential_created" in said


def the_commands_about_the_store_say_that_a_sound_one_is_ready(reader: Reader):
    reader.add()
    (said,) = reader.follow(PAGE, "A store that fails")
    assert "ready" in said


def the_commands_about_webhooks_show_what_was_to_be_told(reader: Reader):
    reader.add()
    (said,) = reader.follow(PAGE, "A webhook that is not delivered")
    assert "credential_created" in said


def the_commands_about_declared_keys_say_that_all_is_ready(reader: Reader):
    reader.add()
    (said,) = reader.follow(PAGE, "An old copy of the keys")
    assert "ready" in said
