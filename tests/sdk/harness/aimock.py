"""aimock as one provider: it accepts certain keys, and responds to all others with 401."""

import json
import os
import re
import urllib.parse
from pathlib import Path

from harness.child import Child
from harness.web import fetch

SUITE = Path(__file__).parent.parent
AIMOCK = SUITE / "node_modules/@copilotkit/aimock/dist/aimock-cli.js"
#: The providers' response to a request to count to three, and the tokens they bill.
_COUNTED = json.loads((SUITE / "fixtures/answers.json").read_text())["fixtures"][0]["response"]
ANSWER: str = _COUNTED["content"]
TOKENS: dict[str, int] = {"input": _COUNTED["usage"]["input_tokens"], "output": _COUNTED["usage"]["output_tokens"]}

LISTENING = re.compile(rb"aimock server listening on (http://\S+)")


class Aimock:
    """A provider that accepts exactly `key` and `others`, in any of the known headers."""

    def __init__(self, key: str, *others: str, suite: Path = SUITE):
        """`suite` is the folder with the responses, in `fixtures/`."""
        self.key = key
        self.keys = [key, *others]
        self._child = Child(
            ["node", AIMOCK, "--config", "fixtures/aimock.json"],
            env={"PATH": os.environ["PATH"], "AIMOCK_API_KEYS": ",".join(self.keys)},
            cwd=suite,
        )
        self.url = self._child.stdout.first(_address, within=60)

    def journal(self, test: str) -> list[dict]:
        """The requests that got past the key check and carried this `X-Test-Id`, oldest first."""
        query = urllib.parse.urlencode({"testId": test})
        status, body = fetch(f"{self.url}/__aimock/journal?{query}", headers={"x-api-key": self.key})
        assert status == 200, body
        return json.loads(body)

    def stop(self):
        self._child.stop()


def _address(line: bytes) -> str | None:
    match = LISTENING.search(line)
    return match and match[1].decode()
