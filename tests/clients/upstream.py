"""A fake provider: records the credential of each request, and lets aimock respond."""

import http.client
import json
import threading
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.aimock import Aimock

SUITE = Path(__file__).parent
CREDENTIAL_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
GEMINI_FIELDS = {
    b'"function_declarations":': b'"functionDeclarations":',
    b'"function_call":': b'"functionCall":',
    b'"function_response":': b'"functionResponse":',
}
PER_CONNECTION = ("connection", "content-length", "host", "keep-alive", "transfer-encoding")


@dataclass(frozen=True)
class Seen:
    """A request that reached the provider."""

    method: str
    path: str
    credentials: tuple[str, ...]
    """The value of each header and query parameter that can contain a key, without a prefix such as
    `Bearer`."""


class Upstream:
    """One provider, which accepts exactly `key`."""

    def __init__(self, key: str):
        self.key = key
        self.seen: list[Seen] = []
        self._aimock = Aimock(key, suite=SUITE)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"upstream": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.behind = urllib.parse.urlsplit(self._aimock.url).netloc
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._aimock.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Upstream

    def log_message(self, *_):
        pass

    def handle_one_method(self):
        self.upstream.seen.append(Seen(self.command, self.path, credentials(self)))
        if self.command == "GET" and self.path.startswith(("/v1/models/gemini", "/v1beta/models/gemini")):
            return self._describe_model()
        body = _spelt_as_aimock_reads_it(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in PER_CONNECTION}
        connection = http.client.HTTPConnection(self.upstream.behind)
        connection.request(self.command, _as_aimock_has_it(self.path), body, headers)
        self._relay(connection.getresponse())
        connection.close()

    do_GET = do_POST = do_HEAD = handle_one_method

    def _describe_model(self):
        """LlamaIndex asks for a model's limits first; aimock does not know that request."""
        body = json.dumps({"name": "models/gemini", "inputTokenLimit": 1048576, "outputTokenLimit": 65536}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _relay(self, response: http.client.HTTPResponse):
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in PER_CONNECTION:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        while piece := response.read1():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


def credentials(request: BaseHTTPRequestHandler) -> tuple[str, ...]:
    """The value of each header and query parameter of a request that can contain a key, without a
    prefix such as `Bearer`."""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
    headers = [request.headers[name].removeprefix("Bearer ") for name in CREDENTIAL_HEADERS if name in request.headers]
    return (*headers, *query.get("key", ()))


def _spelt_as_aimock_reads_it(body: bytes) -> bytes:
    """Google accepts two spellings of each field's name; LiteLLM uses the one that aimock does not
    know."""
    for snake, camel in GEMINI_FIELDS.items():
        body = body.replace(snake, camel)
    return body


def _as_aimock_has_it(path: str) -> str:
    """aimock has Gemini's methods only under v1beta; Google's newer SDKs use v1."""
    return path.replace("/v1/models/", "/v1beta/models/", 1) if ":" in path else path
