"""Ports for programs that take no port 0, or whose address has to be known before they run."""

import secrets
import socket

#: Below the ports that Linux chooses for port 0 and for connections, so that another program, which may run at the same
#: time, does not come to have the port before it is bound.
FIRST, LAST = 20_000, 30_000

_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that this process was not given before."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as bound:
        try:
            bound.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
