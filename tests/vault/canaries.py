"""Secrets that Keyside must not write: this test's own, and any OpenBao token."""

import re
from collections.abc import Iterable, Iterator

from harness.canary import leaks

#: The tests do not know Keyside's tokens, but their form: `s.` or `hvs.`, and 24 characters.
TOKEN = re.compile(r"[sbr]\.[A-Za-z0-9]{24,}")


def secrets_in(text: str, canaries: Iterable[str]) -> Iterator[str]:
    """Names the secrets that occur in `text`, in any encoding."""
    content = text.encode()
    for secret in canaries:
        yield from (f"{disguise} secret {secret[:12]}…" for disguise in leaks(secret, content))
    yield from (f"token {token[:6]}…" for token in TOKEN.findall(text))
