"""A machine that systemd runs: this one's files, with changes that are dropped at the end, and the network of the suite."""

import contextlib
import subprocess
from pathlib import Path

from harness.child import Child
from harness.web import eventually

#: The folder that the machine shows at the same path.
SHARED = Path("/run/shared")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
OPTIONS = ["--register=no", "--keep-unit", "--link-journal=no", "--console=pipe", "--volatile=overlay", f"--bind={SHARED}"]
#: Which systemd-nspawn forbids otherwise, as a machine of one's own does not.
OPTIONS.append("--system-call-filter=@memlock")


class Machine:
    def __init__(self):
        root = Path("/run/root")
        root.mkdir()
        # Alone, without what is mounted below it; and systemd-nspawn takes no `/`.
        subprocess.run(["mount", "--bind", "/", root], check=True)
        command = ["systemd-nspawn", *OPTIONS, f"--directory={root}", "--boot", "systemd.unit=sysinit.target"]
        self._nspawn = Child(command, env=ENVIRONMENT, cwd=root)
        ready = lambda: bool(self._first()) and self.call("systemctl", "is-active", "sysinit.target").returncode == 0
        assert eventually(ready, within=600), self._nspawn.stderr.everything() + self._nspawn.stdout.everything()

    @property
    def files(self) -> Path:
        """The machine's root folder, seen from here."""
        return Path(f"/proc/{self._first()}/root")

    @property
    def entered(self) -> list[str]:
        return ["nsenter", f"--target={self._first()}", "--mount", "--uts", "--ipc", "--pid", "--"]

    def call(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run([*self.entered, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=600, **options)

    def stop(self):
        self._nspawn.stop()

    def _first(self) -> int | None:
        """The process that is the machine's first."""
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return next((int(child) for child in children if _name(child) == "systemd"), None)


def _name(process: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
