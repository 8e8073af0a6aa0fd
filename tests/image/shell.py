"""A person who follows docs/DEPLOY.md at a terminal."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.canary import canary, leaks
from terminal import at_a_terminal

KEY = canary("sk-proj-")


class Shell:
    """`entered` is the beginning of a command line that leads into a container."""

    def __init__(self, folder: Path, environment: Mapping[str, str], entered: Sequence[str] = ()):
        self.folder, self._environment, self._entered = folder, environment, entered

    def run(self, command: str) -> str:
        """What the command shows. If it fails, or shows the key, the test fails."""
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return ""
        script = f"cd {shlex.quote(str(self.folder))}\n{command}"
        code, shown = at_a_terminal(
            [*self._entered, "bash", "-euo", "pipefail", "-c", script],
            cwd=Path("/"), environment=self._environment, answers={"Secret (not shown): ": KEY},
        )  # fmt: skip
        assert code == 0, f"{command}\nexits with {code}:\n{shown}"
        assert not leaks(KEY, shown.encode())
        return shown
