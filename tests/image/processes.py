"""A process under test that never outlives its test, and lines of its log."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading

# Seconds. A start takes one or two, more under strace.
LIMIT = 60


@contextlib.contextmanager
def started(command):
    """The process of the command; killed with everything below it at the end, or when the limit is over."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    timer = threading.Timer(LIMIT, kill, [process.pid])
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        if process.poll() is None:
            kill(process.pid)
        process.wait()
        process.stderr.close()


def log_until_ready(process):
    """The lines up to the one that says that it is ready."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if '"ready"' in line:
            return lines
    raise AssertionError(f"ended, or was not ready in {LIMIT} s:\n{''.join(lines)}")


def keyside(process):
    """The id of the process below `process` that is keyside, whatever started it."""
    [found] = [one for one in below(process.pid) if words(one)[0] == "/usr/bin/keyside"]
    return found


def kill(process):
    for one in [*below(process), process]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def below(process):
    """The ids of all processes that it started, directly or not."""
    found = []
    for task in pathlib.Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]
    return found


def words(process):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/cmdline").read_text().split("\0")
    return [""]
