"""A Docker engine of the suite's own, with images that are made from this machine's files."""

import json
import os
import subprocess
from pathlib import Path

from harness.child import Child
from harness.web import eventually

#: What an engine keeps, in memory that the suite's namespaces take with them.
PLACE = Path("/run/engine")
SETTINGS = {
    "data-root": str(PLACE / "data"),
    "exec-root": str(PLACE / "exec"),
    "storage-driver": "overlay2",
    # The machine's systemd is not reached from here.
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
    "cgroup-parent": f"/{os.environ['KEYSIDE_CGROUP']}/containers",
}
#: Where buildah keeps images. Its own default would be this machine's.
STORAGE = f'[storage]\ndriver = "overlay"\ngraphroot = "{PLACE}/images"\nrunroot = "{PLACE}/running"\n'
STARTED = b"API listen on"
LIMIT = 600


class Engine:
    def __init__(self):
        PLACE.mkdir()
        (PLACE / "daemon.json").write_text(json.dumps(SETTINGS))
        (PLACE / "storage.conf").write_text(STORAGE)
        self.environment = {
            # Those of the distribution first: a client from elsewhere may lack the builder that the engine has.
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin",
            "HOME": "/run",
            "DOCKER_CONFIG": os.environ["DOCKER_CONFIG"],
            "DOCKER_BUILDKIT": "1",
            "CONTAINERS_STORAGE_CONF": str(PLACE / "storage.conf"),
        }
        self._daemon = Child(["dockerd", "--config-file", PLACE / "daemon.json"], env=self.environment, cwd=PLACE)
        self._daemon.stderr.first(lambda line: STARTED in line or None, within=LIMIT)

    def call(self, *words: str | Path, **options) -> subprocess.CompletedProcess:
        """Runs a program that uses the engine."""
        return subprocess.run(words, env=self.environment, capture_output=True, timeout=LIMIT, **options)

    def run(self, *words: str | Path, **options) -> str:
        """What a program that has to succeed prints."""
        done = self.call(*words, **options)
        assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout!r} {done.stderr!r}"
        return done.stdout.decode().strip()

    def image_of(self, name: str, folder: Path, *changes: str):
        """An image with the content of a folder, and nothing else."""
        packed = subprocess.run(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        self.run("docker", "import", *(word for change in changes for word in ("--change", change)), "-", name, input=packed)

    def inspect(self, name: str) -> dict:
        return json.loads(self.run("docker", "inspect", name))[0]

    def settle(self):
        """Waits until each running container's Keyside is ready."""
        for container in self.run("docker", "ps", "--quiet").split():
            assert eventually(lambda: self._is_ready(container), within=LIMIT), self.call("docker", "logs", container).stderr

    def _is_ready(self, container: str) -> bool:
        return self.call("docker", "exec", container, "/usr/bin/keyside", "healthcheck").returncode == 0

    def stop(self):
        if containers := self.run("docker", "ps", "--all", "--quiet").split():
            self.run("docker", "rm", "--force", "--volumes", *containers)
        self._daemon.stop()
