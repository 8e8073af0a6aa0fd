"""The plain HTTP requests that the suite makes itself, without an SDK."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

#: Seconds that a busy machine may take for anything that happens at once on an idle one.
PATIENCE = 60

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, *, headers=None, body: Any = None, method: str | None = None) -> tuple[int, bytes]:
    """Status and body of one request; `body` goes out as JSON."""
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
        method=method,
    )
    try:
        with DIRECT.open(request, timeout=PATIENCE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def eventually(check: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Polls `check` until it is true or the deadline is over."""
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # the interval between two polls, not a guess of how long something takes
    return True
