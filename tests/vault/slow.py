"""A proxy in front of OpenBao that simulates faults: late, wrong, partial or no responses."""

import http.client
import json
import ssl
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from bao import Bao, Tls
from issuers import serve_tls

#: The meaning of each status from a Vault in a cluster or with a quota.
ERRORS = {
    429: "request path \"kv/data\": rate limit quota exceeded",
    472: "disaster recovery secondary",
    473: "performance standby",
    500: "internal error",
    503: "Vault is sealed",
}


@dataclass(frozen=True)
class Fault:
    """The fault for new requests; without any field, none."""

    status: int | None = None
    """Responds with this status instead of OpenBao's response."""
    page: bytes = b""
    """The body of that response, as from a gateway; without it, an error in Vault's form."""
    delay: float = 0
    """Seconds before the request is forwarded."""
    hangs: bool = False
    """Reads the request and never responds."""
    cuts: bool = False
    """Closes the connection in the middle of the response."""
    only: str = ""
    """Only for paths that begin with this, after `/v1/`."""


HEALTHY = Fault()


@dataclass
class Asked:
    """Which requests arrived, as method and path, and in which namespace."""

    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def count(self, beginning: str) -> int:
        return sum(path.startswith(beginning) for _, path, _ in self.requests)


class Slow:
    """Listens with a certificate of the same authority; no fault until `fault` is set."""

    def __init__(self, bao: Bao):
        self._bao = bao
        self._fault = HEALTHY
        self._over = threading.Event()
        self.asked = Asked()
        handler = type("Handler", (_Handler,), {"slow": self})
        self._served = bao.tls.server_context()
        self._served.num_tickets = 0  # a resumed session shows no certificate
        self._server = serve_tls(handler, self._served)
        self.address = f"https://127.0.0.1:{self._server.server_port}"

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault):
        """Hanging requests end without a response when the fault changes."""
        over, self._over = self._over, threading.Event()
        self._fault = fault
        over.set()

    def show_certificate_of(self, tls: Tls):
        """Shows new connections a certificate of another authority."""
        tls.authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._served)

    def wait_until_changed(self, within: float | None = None):
        self._over.wait(within)

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._bao.port, context=self.context, timeout=20)

    @property
    def context(self) -> ssl.SSLContext:
        return self._bao.tls.client_context()

    def stop(self):
        self.fault = HEALTHY
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    slow: Slow

    def log_message(self, *_):
        pass

    def handle_one_method(self):
        path = urllib.parse.unquote(self.path).removeprefix("/v1/")
        self.slow.asked.requests.append((self.command, path, self.headers["X-Vault-Namespace"]))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.slow.fault
        if not path.startswith(fault.only):
            fault = HEALTHY
        if fault.hangs:
            self.slow.wait_until_changed()
            self.close_connection = True
        elif fault.status:
            errors = [ERRORS.get(fault.status, "an error")]
            self._answer(fault.status, fault.page or json.dumps({"errors": errors}).encode())
        else:
            if fault.delay:
                self.slow.wait_until_changed(fault.delay)
            self._answer(*self._forward(body), cut=fault.cuts)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = handle_one_method

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection = self.slow.connect()
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 502, b'{"errors":["OpenBao cannot be reached"]}'
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes, cut: bool = False):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + cut))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection |= cut
