"""A pod's Keyside, started on this machine: the command line, the variables and the settings that the chart renders, with the
container's paths below a temporary folder and its ports on loopback."""

import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import trustme

from chart import Object, Values, keyside_container, parsed, pod_of
from harness.child import Child
from harness.keyside import binary
from harness.ports import free_port
from harness.web import PATIENCE, eventually, fetch

#: The key in every Secret that a test does not fill.
CANARY = "sk-proj-chartCanary0123456789abcdefghijklmnopqrstuvwxyzQ7"
ADDRESS = re.compile(r'"(0\.0\.0\.0|127\.0\.0\.1|\[::\]):(\d+)"')


@cache
def _master_key() -> str:
    return subprocess.run([binary(), "master-key", "generate"], capture_output=True, check=True, text=True).stdout


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def _certificate() -> trustme.LeafCert:
    return _authority().issue_cert("keyside")


class Rehearsal:
    """One pod's Keyside; `start` starts it."""

    def __init__(self, folder: Path, values: Values, object_name: str):
        """`object_name` is the kind and name of the object that creates the pod."""
        found = [one for one in parsed(values) if f"{one['kind']} {one['metadata']['name']}" == object_name]
        assert len(found) == 1, object_name
        self.pod = pod_of(found[0])
        self.container = keyside_container(self.pod)
        self.folder = folder
        self.ports = {}
        self._mount(values)
        (folder / "work").mkdir()
        self.environment = {"PATH": os.environ["PATH"], **self._variables()}
        self._child: Child | None = None

    # The container

    def _mount(self, values: Values):
        """Creates each mounted volume below the folder."""
        volumes = {volume["name"]: volume for volume in self.pod["spec"].get("volumes", [])}
        self.mounts = {}
        for mount in self.container["volumeMounts"]:
            self.mounts[mount["mountPath"]] = folder = self.folder / mount["name"]
            folder.mkdir()
            volume = volumes.get(mount["name"], {})
            for source in volume.get("projected", {}).get("sources", []):
                self._project(folder, source)
            if config := volume.get("configMap"):
                one = next(one for one in parsed(values) if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", config["name"]))
                self.settings = one["data"]["keyside.toml"]
        for path, text in [("keyside.toml", self._rewritten(self.settings))]:
            (self.mounts["/etc/keyside"] / path).write_text(text)

    def _project(self, folder: Path, source: Object):
        kind, contents = next(iter(source.items()))
        for path in [contents["path"]] if kind == "serviceAccountToken" else [item["path"] for item in contents["items"]]:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._contents(path))

    @staticmethod
    def _contents(path: str) -> str:
        match path.split("/"):
            case ["kms", "master-key"]:
                return _master_key()
            case ["kms", _]:
                return subprocess.run([binary(), "master-key", "generate"], capture_output=True, check=True, text=True).stdout
            case [_, "ca.crt"]:
                return _authority().cert_pem.bytes().decode()
            case [_, "tls.crt"]:
                return _certificate().cert_chain_pems[0].bytes().decode()
            case [_, "tls.key"]:
                return _certificate().private_key_pem.bytes().decode()
            case ["egress", "credentials"]:
                return "user:password\n"
        return CANARY + "\n"

    def _rewritten(self, text: str) -> str:
        # In one pass: the folder itself is below /tmp, which may be a mount too.
        paths = "|".join(re.escape(path) for path in sorted(self.mounts, key=len, reverse=True))
        text = re.sub(rf"({paths})(?=[/\"]|$)", lambda match: str(self.mounts[match[1]]), text)

        def on_loopback(match: re.Match) -> str:
            port = int(match[2])
            self.ports.setdefault(port, free_port())
            return f'"127.0.0.1:{self.ports[port]}"'

        listening = ("listen", "address = ")
        lines = text.splitlines()
        return "\n".join(ADDRESS.sub(on_loopback, line) if line.startswith(listening) else line for line in lines) + "\n"

    def _variables(self) -> dict[str, str]:
        return {one["name"]: self._rewritten(one["value"]).strip() for one in self.container.get("env", [])}

    def table(self) -> dict:
        """The settings as rendered."""
        return tomllib.loads(self.settings)

    # Commands

    def command(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        """A command as with `kubectl exec`."""
        return subprocess.run(
            [binary(), *arguments],
            cwd=self.folder / "work",
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self) -> "Rehearsal":
        self._child = Child([binary(), *self.container["args"]], env=self.environment, cwd=self.folder / "work")
        return self

    def passes(self, probe: str, within: float = PATIENCE) -> bool:
        """Whether a probe of the container passes before the deadline."""
        assert eventually(lambda: self.probe(probe) is not None, within), self.log()
        return eventually(lambda: self.probe(probe) == 200, within)

    def probe(self, probe: str) -> int | None:
        """The status that one probe gets; None while the port is closed."""
        get = self.container[f"{probe}Probe"]["httpGet"]
        port = next(one["containerPort"] for one in self.container["ports"] if one["name"] == get["port"])
        try:
            return fetch(f"http://127.0.0.1:{self.ports[port]}{get['path']}")[0]
        except OSError:
            assert self._child.ended is None, self.log()
            return None

    def pre_stop(self) -> subprocess.CompletedProcess:
        """The preStop hook. In a container the process need not be named; here others run beside it."""
        program, *arguments = self.container["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "keyside"
        return self.command(*arguments, "--pid", str(self._child.pid))

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def log(self) -> str:
        return (self._child.stdout.everything() + self._child.stderr.everything()).decode(errors="replace")[-4000:]

    def stop(self) -> int:
        return self._child.stop()

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(self, *_):
        if self._child is not None and self._child.ended is None:
            self._child.stop()
