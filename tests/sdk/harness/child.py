"""A program that the suite runs: its output is recorded, and only this process is stopped."""

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

Found = TypeVar("Found")


class Output:
    """The output of one stream of a program so far, byte for byte."""

    def __init__(self, pipe: IO[bytes]):
        self._lines: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def everything(self) -> bytes:
        with self._changed:
            return b"".join(self._lines)

    def first(self, find: Callable[[bytes], Found | None], within: float) -> Found:
        """The first result of `find` on a line; fails if there is none `within` seconds."""
        seen = 0

        def found_or_ended():
            nonlocal seen
            while seen < len(self._lines):
                seen += 1
                if (found := find(self._lines[seen - 1])) is not None:
                    return (found,)
            return (None,) if self._ended else None  # true, so that the wait ends with the program

        with self._changed:
            outcome = self._changed.wait_for(found_or_ended, within)
        if not outcome or outcome[0] is None:
            said = self.everything()[-4000:].decode(errors="replace")
            raise AssertionError(f"the program did not say what was awaited; it said:\n{said}")
        return outcome[0]

    def to_the_end(self, within: float) -> bytes:
        """All of it, once the program has closed the stream."""
        self._reader.join(within)
        assert self._ended, "the stream is still open"
        return self.everything()

    def _read(self, pipe: IO[bytes]):
        for line in pipe:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Child:
    """A running program."""

    def __init__(self, argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path):
        self._process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stdout = Output(self._process.stdout)
        self.stderr = Output(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, once there is one."""
        return self._process.poll()

    def signal(self, number: int):
        self._process.send_signal(number)

    def stop(self, within: float = 30) -> int:
        """Asks the program to exit and returns its exit code; kills it if it does not exit."""
        self._process.terminate()
        try:
            return self._process.wait(within)
        finally:
            self._process.kill()
            self._process.wait()
