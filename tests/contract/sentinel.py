"""Keyside's egress proxy in this suite: records each request that would leave the machine, and refuses it."""

import socketserver
import threading


class Sentinel:
    def __init__(self):
        self.heads: list[bytes] = []
        """The head of each request: `CONNECT host:port` and headers."""
        handler = type("Handler", (_Handler,), {"sentinel": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def targets(self) -> list[str]:
        return [head.split(b"\r\n")[0].decode(errors="replace") for head in self.heads]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(socketserver.StreamRequestHandler):
    sentinel: Sentinel

    def handle(self):
        head = b""
        while (line := self.rfile.readline()) not in (b"\r\n", b"\n", b""):
            head += line
        self.sentinel.heads.append(head)
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
