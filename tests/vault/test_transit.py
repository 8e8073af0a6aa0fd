"""Transit as the KMS, with exactly the policy in docs/CONFIGURATION.md."""

import os
import subprocess
from pathlib import Path

import pytest

from bao import Bao, Refused, unique
from harness.keyside import binary

AUTHORITY = """\
path "{mount}/keys/keyside-*" {{ capabilities = ["create", "update", "delete"] }}
path "{mount}/encrypt/keyside-*" {{ capabilities = ["update"] }}
path "{mount}/decrypt/keyside-*" {{ capabilities = ["update"] }}
path "auth/token/lookup-self" {{ capabilities = ["read"] }}
"""


@pytest.fixture
def mount(bao) -> str:
    name = unique("transit")
    bao.mount(name, "transit")
    return name


def _contract(bao: Bao, mount: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the contract suite of key services, as an example program."""
    policy = unique("authority")
    bao.write_policy(policy, AUTHORITY.format(mount=mount))
    environment = {
        "PATH": os.environ["PATH"],
        "KMS_DRIVER": "vault",
        "KEYSIDE_KMS__MOUNT": mount,
        "VAULT_ADDR": bao.address,
        "VAULT_CACERT": str(bao.tls.ca_file),
        "VAULT_TOKEN": bao.new_token(policy),
    }
    example = binary().parent / "examples" / "transit_contract"
    return subprocess.run([example], env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


def transit_keeps_the_contract_of_a_key_service(bao, mount, folder):
    done = _contract(bao, mount, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "upheld\n"


def transit_keys_are_not_exportable_and_are_deleted_with_their_workspace(bao, mount, folder):
    assert _contract(bao, mount, folder).returncode == 0
    keys = bao.ask("LIST", f"{mount}/keys")["data"]["keys"]
    # The workspace `installation` has a key of its own. `acme` was erased, and then created again.
    expected = {"_installation", "installation", "acme", "globex", "a-_"}
    assert {f"keyside-{name}" for name in expected} <= set(keys)
    for name in keys:
        key = bao.ask("GET", f"{mount}/keys/{name}")["data"]
        assert (key["type"], key["exportable"], key["deletion_allowed"]) == ("aes256-gcm96", False, False)


def a_mount_that_is_not_there_is_named_with_its_setting(bao, folder):
    done = _contract(bao, unique("nowhere"), folder)
    assert done.returncode != 0
    assert "kms.mount" in done.stderr


def the_policy_gives_no_other_key(bao, mount):
    policy = unique("authority")
    bao.write_policy(policy, AUTHORITY.format(mount=mount))
    bao.ask("POST", f"{mount}/keys/of-others")
    with pytest.raises(Refused):
        bao.ask("POST", f"{mount}/encrypt/of-others", {"plaintext": "a2V5"}, token=bao.new_token(policy))
