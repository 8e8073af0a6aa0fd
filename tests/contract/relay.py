"""In front of aimock, one for each provider: records each request as it arrived, and relays bytes in both directions.

aimock's own journal hides credentials, and accepts a key in any header that some provider uses.
"""

import contextlib
import http.client
import json
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: Headers in which a credential can travel.
CREDENTIAL_HEADERS = (
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "xi-api-key",
    "cookie",
)
CREDENTIAL_PARAMETERS = ("key", "api_key", "api-key", "access_token")
FRAMING = ("connection", "content-length", "transfer-encoding")


@dataclass
class Arrived:
    """A request that reached the provider."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    sent: bytearray = field(default_factory=bytearray)
    """Everything that follows the head: the body, or a WebSocket's frames."""

    @property
    def credentials(self) -> dict[str, list[str]]:
        """All values in places that can contain a credential, by place."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.target).query)
        places: dict[str, list[str]] = {f"?{name}": query[name] for name in CREDENTIAL_PARAMETERS if name in query}
        for name, value in self.headers:
            if name in CREDENTIAL_HEADERS:
                places.setdefault(name, []).append(value)
        return places

    def values(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]

    def json(self) -> Any:
        return json.loads(self.sent) if self.sent else None


class Relay:
    """One provider; `paths` maps the beginnings of its paths to those under which aimock has the same API."""

    def __init__(self, mock: str, paths: dict[str, str]):
        self.arrived: list[Arrived] = []
        self.mock = urllib.parse.urlsplit(mock)
        self.paths = paths
        self.more_usage: dict[str, dict] = {}
        """Counts that the provider reports and aimock does not, by the path of the object that they belong to."""
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"relay": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def prepare(self, more_usage: dict[str, dict]):
        """For the next interaction."""
        self.arrived = []
        self.more_usage = more_usage

    def as_mock_has_it(self, target: str) -> str:
        for begin, replacement in self.paths.items():
            if target.startswith(begin):
                return replacement + target[len(begin) :]
        return target

    def with_more_usage(self, text: bytes) -> bytes:
        event = json.loads(text)
        for path, more in self.more_usage.items():
            usage = event
            for name in path.split("."):
                usage = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(usage, dict):
                _merge(usage, more)
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    """One request for each connection, so that nothing has to be parsed after the head."""

    relay: Relay
    disable_nagle_algorithm = True

    def handle(self):
        if not (line := self.rfile.readline().decode("latin-1").split()):
            return
        method, target, version = line
        headers = [(name.lower(), value) for name, value in self._headers()]
        request = Arrived(method, target, headers)
        self.relay.arrived.append(request)
        upgrade = bool(request.values("upgrade"))
        kept = headers if upgrade else [*(one for one in headers if one[0] != "connection"), ("connection", "close")]
        head = f"{method} {self.relay.as_mock_has_it(target)} {version}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in kept)
        with socket.create_connection((self.relay.mock.hostname, self.relay.mock.port)) as mock:
            mock.sendall(f"{head}\r\n".encode("latin-1"))
            if upgrade:
                threading.Thread(target=self._forward, args=(mock, request, None), daemon=True).start()
                self._splice(mock)
            else:
                # The whole body first: a refusal may come before it was read.
                self._forward(mock, request, int(dict(headers).get("content-length", 0)))
                self._respond(mock, method)

    def finish(self):
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # ends `_forward` too

    def _headers(self):
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            yield name, value.strip()

    def _forward(self, mock: socket.socket, request: Arrived, length: int | None):
        """Passes on the body, or all that follows the head of a WebSocket."""
        with contextlib.suppress(OSError, ValueError):
            while length is None or len(request.sent) < length:
                if not (piece := self.rfile.read1(65536 if length is None else length - len(request.sent))):
                    return
                request.sent += piece
                mock.sendall(piece)

    def _respond(self, mock: socket.socket, method: str):
        """Passes on the response, and a cut in it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            response = http.client.HTTPResponse(mock, method=method)
            response.begin()
            head = f"HTTP/1.1 {response.status} {response.reason}\r\n"
            kept = [(name, value) for name, value in response.getheaders() if name.lower() not in FRAMING]
            head += "".join(f"{name}: {value}\r\n" for name, value in kept)
            self.wfile.write(f"{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n".encode("latin-1"))
            for piece in filter(None, self._pieces(response)):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        media_type = response.headers.get_content_type()
        if media_type == "application/json":
            yield self.relay.with_more_usage(response.read())
            return
        rest = b""
        while piece := response.read1(65536):
            if media_type != "text/event-stream":
                yield piece
                continue
            *lines, rest = (rest + piece).split(b"\n")
            yield b"".join(self._line(line) + b"\n" for line in lines)
        yield rest

    def _line(self, line: bytes) -> bytes:
        begin = b"data: "
        return begin + self.relay.with_more_usage(line[len(begin) :]) if line.startswith(begin + b"{") else line

    def _splice(self, mock: socket.socket):
        """A WebSocket, from the provider to the client."""
        with contextlib.suppress(OSError):
            while piece := mock.recv(65536):
                self.wfile.write(piece)


def _merge(into: dict, more: dict):
    for name, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
