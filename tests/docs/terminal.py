"""Runs a command at a terminal of its own, and answers its prompts."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def at_a_terminal(
    argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str], answers: Mapping[str, str], within: float = 600
) -> tuple[int, str]:
    """Exit code and everything that was shown. When the text of a prompt appears, its answer is typed."""
    person, terminal = pty.openpty()
    child = subprocess.Popen(
        argv, cwd=cwd, env=environment, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    deadline, shown, answered = time.monotonic() + within, b"", 0
    try:
        while block := _read(person, deadline):
            shown += block
            for prompt, answer in answers.items():
                if (at := shown.find(prompt.encode(), answered)) >= 0:
                    answered = at + len(prompt)
                    os.write(person, f"{answer}\r".encode())
        return child.wait(max(1, deadline - time.monotonic())), shown.decode(errors="replace").replace("\r\n", "\n")
    finally:
        child.kill()
        child.wait()
        os.close(person)


def _read(person: int, deadline: float) -> bytes:
    ready, _, _ = select.select([person], [], [], max(0, deadline - time.monotonic()))
    assert ready, "nothing more is shown, and the command does not end"
    try:
        return os.read(person, 65536)
    except OSError:  # EIO: nobody has the terminal open any more
        return b""
