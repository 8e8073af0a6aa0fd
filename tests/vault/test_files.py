"""Keys in files: updated as Kubernetes, Docker, systemd and people change them, and refused when
they are gone."""

import os
from pathlib import Path

import pytest

from harness.canary import canary
from sidecar import GONE, SOON, declared, needs

pytestmark = needs("proxy")


@pytest.fixture
def new_key(canaries, provider):
    """Makes a key that the provider accepts."""

    def new_key() -> str:
        key = canary("sk-proj-")
        canaries.append(key)
        provider.good.add(key)
        return key

    return new_key


class Volume:
    """A mounted Secret as the kubelet writes it: each version in a new folder; `..data` links to
    the newest."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._versions = 0
        self.key = folder / "api-key"
        folder.mkdir()

    def write(self, key: str):
        before = list(self.folder.glob("..2*"))
        self._versions += 1
        data = self.folder / f"..2026_11_29_{self._versions}"
        data.mkdir()
        (data / "api-key").write_text(key)
        beside = self.folder / "..data_tmp"
        beside.symlink_to(data.name)
        beside.replace(self.folder / "..data")
        if not self.key.is_symlink():
            self.key.symlink_to("..data/api-key")
        for folder in before:  # the kubelet removes what it replaced
            (folder / "api-key").unlink()
            folder.rmdir()


def _in_place(file: Path, key: str):
    file.write_text(key)


def _by_rename(file: Path, key: str):
    beside = file.with_name("next")
    beside.write_text(key)
    os.rename(beside, file)


@pytest.mark.parametrize("write", [_in_place, _by_rename])
def a_changed_file_is_used_within_its_poll_and_no_request_fails(write, folder, start, provider, new_key):
    file = folder / "openai"
    write(file, new_key())
    sidecar = start(f"file:{file}").becomes_ready()

    with sidecar.load() as load:
        for _ in range(2):
            write(file, new := new_key())
            assert provider.saw(new, within=SOON), "the changed key was not used in time"
    load.assert_nobody_noticed()


def a_secret_that_kubernetes_swaps_is_used_within_its_poll_and_no_request_fails(folder, start, provider, new_key):
    volume = Volume(folder / "secret")
    volume.write(new_key())
    sidecar = start(f"file:{volume.key}").becomes_ready()

    with sidecar.load() as load:
        for _ in range(2):
            volume.write(new := new_key())
            assert provider.saw(new, within=SOON), "the changed key was not used in time"
    load.assert_nobody_noticed()


def a_key_of_the_same_length_and_time_is_a_change(folder, start, provider, new_key):
    """Compared by content, because a restored backup or `cp -p` keeps size and time."""
    file = folder / "openai"
    file.write_text(new_key())
    os.utime(file, (1_700_000_000, 1_700_000_000))
    sidecar = start(f"file:{file}").becomes_ready()

    with sidecar.load():
        _in_place(file, new := new_key())
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert provider.saw(new, within=SOON)


def a_line_break_at_the_end_is_not_part_of_the_key(folder, start, provider, new_key):
    (folder / "openai").write_text(f"{(key := new_key())}\n")

    assert start(f"file:{folder}/openai").becomes_ready().ask().status == 200
    assert provider.seen == [key]


def a_deleted_file_is_refused_and_a_new_one_is_used(folder, start, provider, new_key):
    file = folder / "openai"
    file.write_text(new_key())
    sidecar = start(f"file:{file}").becomes_ready()
    assert sidecar.ask().status == 200

    file.unlink()
    assert sidecar.refuses(GONE), sidecar.ask()
    assert str(file) in sidecar.readiness()[1]

    file.write_text(new_key())
    assert sidecar.serves()


def an_emptied_file_is_refused(folder, start, new_key):
    file = folder / "openai"
    file.write_text(new_key())
    sidecar = start(f"file:{file}").becomes_ready()
    assert sidecar.ask().status == 200

    file.write_text("")
    assert sidecar.refuses(GONE), sidecar.ask()


def one_missing_file_refuses_what_needs_it_and_nothing_else(folder, start, new_key):
    (folder / "openai").write_text(new_key())
    credentials = [declared(f"file:{folder}/openai"), declared(f"file:{folder}/missing", workspace="missing")]
    sidecar = start(credentials).becomes_ready()

    assert sidecar.ask().status == 200
    assert sidecar.ask("missing").refusal in GONE
    assert f"{folder}/missing" in sidecar.readiness()[1]


def a_key_in_a_file_needs_no_vault_and_no_data_folder(folder, start, new_key):
    (folder / "openai").write_text(new_key())
    before = {"openai", "keyside.toml"}
    sidecar = start(f"file:{folder}/openai").becomes_ready()

    assert sidecar.ask().status == 200
    assert sidecar.stop() == 0
    assert {path.name for path in folder.iterdir()} == before
