"""What may not stand in anything that Keyside writes: this test's own secrets, and any token of OpenBao's."""

import re
from collections.abc import Iterable, Iterator

from harness.canary import leaks

#: Tokens that Keyside is issued are not known to the tests, but their form is: `s.` or `hvs.`, and 24 characters.
TOKEN = re.compile(r"[sbr]\.[A-Za-z0-9]{24,}")


def secrets_in(text: str, canaries: Iterable[str]) -> Iterator[str]:
    """Names the secrets that stand in `text`, in whichever disguise."""
    content = text.encode()
    for secret in canaries:
        yield from (f"{disguise} secret {secret[:12]}…" for disguise in leaks(secret, content))
    yield from (f"token {token[:6]}…" for token in TOKEN.findall(text))
