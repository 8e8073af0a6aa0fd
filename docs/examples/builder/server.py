#!/usr/bin/env python3
"""The backend of a small workflow builder, which asks Keyside before it shows a step that needs a
provider.

Only this backend knows Keyside's address and the token: browsers cannot call the admin API, and the
page gets a word and a link for each step. Needs Python 3.11 and nothing else.

    keyside token create --name builder --role viewer --workspace acme > token
    docs/examples/builder/server.py --workspace acme --token-file token
"""

import argparse
import http.server
import json
import os
import pathlib
import threading
import urllib.error
import urllib.parse
import urllib.request

#: The workflow that the page shows. A real builder has these in its own storage.
STEPS = [
    {"name": "Summarise the ticket", "provider": "openai"},
    {"name": "Draft the answer", "provider": "anthropic"},
]

HERE = pathlib.Path(__file__).parent
#: The only files that are served.
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
#: Seconds. A page must not wait longer for a banner.
TIMEOUT = 3


class Keyside:
    """Asks for the readiness of a workspace's providers."""

    def __init__(self, url, token_file, workspace):
        self.url = url.rstrip("/")
        self.token_file = token_file
        self.workspace = workspace
        self.lock = threading.Lock()
        self.seen = None
        # A proxy of the environment would see the token.
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def readiness(self, providers):
        """The answer by provider. An answer that is unchanged is not sent again: it is kept with
        its ETag, and Keyside confirms it with 304."""
        query = urllib.parse.urlencode({"workspaceId": self.workspace, "providers": ",".join(providers)})
        # Read each time, so that a replaced token needs no restart.
        token = self.token_file.read_text(encoding="ascii").strip()
        request = urllib.request.Request(f"{self.url}/api/integrations/readiness?{query}")
        request.add_header("Authorization", f"Bearer {token}")
        with self.lock:
            seen = self.seen
        if seen:
            request.add_header("If-None-Match", seen[0])
        try:
            with self.open(request, timeout=TIMEOUT) as answer:
                items = json.load(answer)["items"]
                seen = (answer.headers["ETag"], {item["provider"]: item for item in items})
        except urllib.error.HTTPError as error:
            if error.code != 304 or not seen:
                raise
        with self.lock:
            self.seen = seen
        return seen[1]


def steps(keyside):
    """The steps with what the page needs to know. If Keyside cannot be asked, the builder goes on
    without banners: a run is refused with the same link."""
    try:
        found = keyside.readiness([step["provider"] for step in STEPS])
    except (OSError, ValueError, KeyError) as error:
        print(f"readiness: {error}", flush=True)
        found = {}
    unknown = {"status": "unknown", "environment": None, "label": None, "remediation": None}
    return [step | {"readiness": found.get(step["provider"], unknown)} for step in STEPS]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/steps":
            body = json.dumps({"steps": steps(self.server.keyside)}).encode()
            self.answer("application/json", body)
        elif self.path in FILES:
            name, kind = FILES[self.path]
            self.answer(kind, (HERE / name).read_bytes())
        else:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def main():
    parser = argparse.ArgumentParser(description="A small workflow builder on Keyside.")
    parser.add_argument("--keyside", default=os.environ.get("KEYSIDE_ADMIN_URL", "http://127.0.0.1:7381"), help="the admin API")
    parser.add_argument("--token-file", type=pathlib.Path, required=True, help="a viewer's token, limited to the workspace")
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.keyside = Keyside(options.keyside, options.token_file, options.workspace)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
