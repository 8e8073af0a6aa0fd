"""Runs schemathesis against a new Keyside with one workspace and one key.

All checks of schemathesis are on; schemathesis.toml lists the exceptions of each operation, with
reasons. Exit code 0 if all pass and the owner can still authenticate at the end: a run that locked
itself out proves nothing.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "tests/sdk"))
from harness.serving import serving

SETTINGS = """\
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
# It is not what is tested here, and schemathesis takes a 429 for an answer.
requests_per_second = 1000000
[observe]
listen = "127.0.0.1:0"
[log]
format = "json"
# Names below `.invalid` lead nowhere.
[providers.azure-openai.endpoint]
suffixes = ["azure.invalid"]
"""


class Provider(http.server.BaseHTTPRequestHandler):
    """Replaces all providers: no request leaves this machine, and every key is accepted."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_):
        pass


def all_providers_at(port):
    names = sorted(file.stem for file in (ROOT / "config/providers").glob("*.toml"))
    fixed = (name for name in names if name != "azure-openai")
    return "".join(f'[providers.{name}]\nbase_url = "http://127.0.0.1:{port}"\n' for name in fixed)


def started(folder):
    """A running Keyside and the address of its admin API."""
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    settings = SETTINGS + all_providers_at(provider.server_port)
    (folder / "keyside.toml").write_text(settings, encoding="utf-8")
    binary = os.environ.get("KEYSIDE_BIN") or ROOT / "target/debug/keyside"
    process, addresses = serving(binary, folder, {"PATH": os.environ["PATH"]})
    return process, f"http://{addresses['admin']}"


def ask(base, token, path, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=30) as answer:
        return json.load(answer)


def main():
    schemathesis, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        process, base = started(folder)
        try:
            token = (folder / "data/admin-token").read_text().strip()
            ask(base, token, "/api/workspaces", {"id": "acme"})
            key = {"workspaceId": "acme", "provider": "openai", "label": "default", "secret": "sk-0123456789"}
            ask(base, token, "/api/integrations/credentials", key)
            spare = ask(base, token, "/api/tokens", {"name": "spare", "role": "viewer"})
            environment = {**os.environ, "SPARE_TOKEN": spare["id"]}
            config = ["--config-file", HERE / "schemathesis.toml"]
            run = ["run", ROOT / "docs/openapi.json", "--url", base, "--header", f"Authorization: Bearer {token}"]
            outcome = subprocess.run([schemathesis, *config, *run, *arguments], cwd=folder, env=environment, check=False)
            ask(base, token, "/api/workspaces")
            return outcome.returncode
        finally:
            process.stop()


if __name__ == "__main__":
    sys.exit(main())
