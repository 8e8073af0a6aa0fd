"""Runs last: no stored key occurs in anything that Keyside wrote or printed, in any encoding."""

import base64
import json

import pytest

from harness import canary, web

PAGES = [
    "/api/integrations/credentials",
    "/api/integrations/providers",
    "/api/workspaces",
    "/api/runs",
    "/api/audit",
    "/api/audit/export?format=ndjson",
    "/api/audit/export?format=csv",
    "/api/tokens",
]


@pytest.mark.parametrize(
    "disguise",
    [
        lambda key: key,
        lambda key: key.hex(),
        lambda key: key.hex().upper(),
        lambda key: base64.b64encode(b"x" + key + b"yz"),
        lambda key: base64.urlsafe_b64encode(b"xy" + key),
        lambda key: b"%2Fend".join(key.replace(b"+", b"%2B").rsplit(b"/end")),
    ],
)
def the_search_sees_through_a_disguise(disguise):
    key = canary.canary("sk-")
    disguised = disguise(key.encode())
    disguised = disguised if isinstance(disguised, bytes) else disguised.encode()

    assert canary.leaks(key, b"before " + disguised + b" after")
    assert not canary.leaks(canary.canary("sk-"), disguised)


def no_key_stands_in_anything_that_keyside_wrote(stage):
    """Stops Keyside, so that its last output is searched too: this is the last test."""
    keyside = stage.keyside
    written = {"/metrics": keyside.metrics()}
    written |= {page: keyside.ask_admin(page) for page in PAGES}
    stored = json.loads(written["/api/integrations/credentials"])["items"]
    written |= {key["id"]: keyside.ask_admin(f"/api/integrations/credentials/{key['id']}") for key in stored}
    written |= {page: web.fetch(f"{keyside.observe}{page}")[1] for page in ("/healthz", "/readyz")}

    assert keyside.stop() == 0
    written |= {name: output.to_the_end(within=60) for name, output in keyside.outputs.items()}
    written |= {str(file): file.read_bytes() for file in keyside.folder.rglob("*") if file.is_file()}

    assert len(stored) == len(stage.keys)
    assert written["stderr"] and any("/data/store/" in name for name in written), "there must be something to search"
    found = [
        f"{disguise} key in {name}"
        for name, content in written.items()
        for key in stage.keys
        for disguise in canary.leaks(key, content)
    ]
    assert found == []
