"""How busy this machine is: tests that measure time take it into account."""

import subprocess
import sys

#: Computes until its standard input ends, then prints its time by the clock for each second that it had a processor.
PROGRAM = """
import select, sys, time
print("begun", flush=True)
begun, used = time.monotonic(), time.process_time()
while not select.select([sys.stdin], [], [], 0)[0]:
    pass
print((time.monotonic() - begun) / (time.process_time() - used))
"""


class Rival:
    """A process that competes for the processors inside a `with` block. Afterwards `slowness` says how many times longer
    anything took there than on a machine that does nothing else: at least 1."""

    slowness: float

    def __enter__(self) -> "Rival":
        self._process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "begun\n"
        return self

    def __exit__(self, *_):
        said, _ = self._process.communicate("\n", timeout=60)
        self.slowness = max(1.0, float(said))
