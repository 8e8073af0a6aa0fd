"""The metrics of a running Keyside: docs/OPERATING.md lists them, with their labels, and no other."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

import metrics
from repository import ROOT

sys.path.append(str(ROOT / "tests/sdk"))
from harness.serving import serving

#: Everything that has metrics of its own. Nothing listens where it sends to.
SETTINGS = """
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[observe]
listen = "127.0.0.1:0"
[egress]
proxy = "direct"
[vault]
address = "http://127.0.0.1:1"
cache = "cache"
cache_key_file = "cache-key"
[[credential]]
workspace = "acme"
provider = "openai"
source = "vault:kv/acme#key"
mount = "kv"
[[webhook]]
url = "http://127.0.0.1:1/"
secret_file = "webhook"
"""
COMMANDS = (
    "workspace add acme",
    "workspace edit acme --requests-per-day 10",
    "key add -w acme -p openai -l stored --expires-at 2099-01-01 --tokens-per-day 10 --check skip --secret-file key",
)
FILES = {"keyside.toml": SETTINGS, "webhook": f"whsec_{'A' * 32}\n", "key": "not-a-key-of-anybody-0123456789\n"}
#: Of the process itself, by the library; the dashboard uses one.
PROCESS = re.compile(r"process_\w+")
SERIES = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? ", re.MULTILINE)
#: Seconds.
PATIENCE = 60


@contextlib.contextmanager
def running(binary, folder):
    """(the addresses that it logs once it is ready, a function that runs a command) of a `keyside serve` in the folder."""
    environment = {"PATH": os.environ["PATH"], "VAULT_TOKEN": "not-a-token"}
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o600)

    def run(*words):
        subprocess.run([binary, *words], cwd=folder, env=environment, check=True, capture_output=True, timeout=PATIENCE)

    run("master-key", "generate", "--out", "cache-key")
    process, addresses = serving(binary, folder, environment, PATIENCE)
    try:
        yield addresses, run
    finally:
        process.stop()


def scraped(binary):
    """{metric: the labels of its series} of the process."""
    with tempfile.TemporaryDirectory() as folder, running(binary, pathlib.Path(folder)) as (addresses, run):
        for command in COMMANDS:
            run(*command.split(), "--admin-url", f"http://{addresses['admin']}")
        with urllib.request.urlopen(f"http://{addresses['observe']}/metrics", timeout=PATIENCE) as response:
            return series(response.read().decode())


def series(text):
    found = {}
    for name, labels in SERIES.findall(text):
        if not PROCESS.fullmatch(name):
            names = set(re.findall(r'(\w+)="', labels)) - {"le"}
            found.setdefault(metrics.SUFFIXES.sub("", name), set()).update(names)
    return found


def compared(exposed, known):
    for name in sorted(exposed.keys() | known.keys()):
        if name not in known:
            yield f"/metrics has {name}, and docs/OPERATING.md does not"
        elif name not in exposed:
            yield f"docs/OPERATING.md lists {name}, and /metrics does not have it"
        elif exposed[name] != known[name]:
            yield f"{name} has the labels {', '.join(sorted(exposed[name]))}; docs/OPERATING.md says {', '.join(sorted(known[name]))}"


def exposed(repository, program):
    yield from compared(scraped(program.binary), metrics.documented(repository.files["docs/OPERATING.md"]))
