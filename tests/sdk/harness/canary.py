"""Canary keys: each is unique, and is searched for in every common encoding."""

import base64
import secrets
import urllib.parse


def canary(prefix: str) -> str:
    """A recognisable key. The `+` and `/` make its URL-encoded form differ from its raw one."""
    return f"{prefix}canary+{secrets.token_hex(16)}/end"


def leaks(key: str, haystack: bytes) -> list[str]:
    """The encodings in which `key` occurs in `haystack`: empty if it did not leak."""
    return [name for name, needle in _disguises(key) if needle in haystack]


def _disguises(key: str):
    raw = key.encode()
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    yield "url", urllib.parse.quote(key, safe="").encode()
    yield "debug", ", ".join(str(byte) for byte in raw).encode()  # how Rust prints bytes
    for offset in range(3):
        # Inside a longer base64 text the key starts at any of three offsets in a group; the first
        # and last characters of its form depend on its neighbours, those between do not.
        for alphabet, encode in ("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode):
            yield f"{alphabet}+{offset}", encode(b"\0" * offset + raw)[4 if offset else 0 : -4]
