"""Runs last: no key occurs in anything that Keyside wrote or printed, in any encoding."""

import json

import pytest

from harness.canary import leaks
from harness.web import fetch

PAGES = [
    "/api/integrations/credentials",
    "/api/integrations/providers",
    "/api/workspaces",
    "/api/runs?limit=1000",
    "/api/audit",
    "/api/audit/export?format=ndjson",
    "/api/audit/export?format=csv",
    "/api/tokens",
]


def no_key_is_in_anything_that_keyside_wrote(stage):
    """Stops Keyside, so that its last output is searched too."""
    if not stage.providers:
        pytest.skip("no provider has a key")
    keyside = stage.keyside
    written = {"/metrics": keyside.metrics()}
    written |= {page: keyside.ask_admin(page) for page in PAGES}
    stored = json.loads(written["/api/integrations/credentials"])["items"]
    written |= {page: fetch(f"{keyside.observe}{page}")[1] for page in ("/healthz", "/readyz")}

    assert keyside.stop() == 0
    written |= {name: output.to_the_end(within=60) for name, output in keyside.outputs.items()}
    written |= {str(file): file.read_bytes() for file in keyside.folder.rglob("*") if file.is_file()}

    keys = [*stage.keys.values(), *stage.wrong_keys.values()]
    count = len(keys)
    assert len(stored) == count
    assert written["stderr"] and any("/data/store/" in name for name in written), "there must be something to search"
    found = [f"{form} key in {name}" for name, text in written.items() for key in keys for form in leaks(key, text)]
    assert found == []
