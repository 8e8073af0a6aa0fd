"""A proxy as in a company's network: pproxy, a proxy by other authors that is in real use."""

import os
import sys
from pathlib import Path

from harness.child import Child

#: A name that only the proxy resolves, as behind a company's firewall.
HOST = "upstream.test"


class Proxy:
    """pproxy with `protocol` (`http` or `socks5`); if `user:password` is given, clients must
    authenticate with it."""

    def __init__(self, protocol: str, credentials: str | None = None):
        asked = f"#{credentials}" if credentials else ""
        self._child = Child(
            [sys.executable, "-B", "-m", "harness.egress", f"{protocol}://127.0.0.1:0/{asked}"],
            env={"PATH": os.environ["PATH"]},
            cwd=Path(__file__).parent.parent,
        )
        self.address = self._child.stdout.first(_address, within=60)
        self.url = f"{protocol}://{self.address}"

    @property
    def said(self) -> bytes:
        """The connections that clients requested, from its log."""
        return self._child.stdout.everything()

    def asked_for(self, target: str) -> bool:
        """Whether it connects, or has connected, a client to `target`."""
        return self._child.stdout.first(lambda line: True if target.encode() in line else None, within=60)

    def stop(self):
        self._child.stop()


def _address(line: bytes) -> str | None:
    words = line.decode().split()
    return words[1] if words[:1] == ["listening"] else None


def _serve(uri: str):
    import asyncio
    import socket

    import pproxy

    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **named: resolve("127.0.0.1" if host == HOST else host, *rest, **named)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # pproxy asks for the current one
    options = {"rserver": [pproxy.DIRECT], "verbose": lambda line: print(line, flush=True)}
    server = loop.run_until_complete(pproxy.Server(uri).start_server(options))
    host, port = server.sockets[0].getsockname()[:2]
    print(f"listening {host}:{port}", flush=True)
    loop.run_forever()


if __name__ == "__main__":
    _serve(sys.argv[1])
