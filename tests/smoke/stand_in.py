"""One provider: answers requests without a body itself, and has aimock answer prompts. It can be broken, slow or without funds."""

import http.client
import http.server
import json
import threading
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_FUNDS = {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}


class StandIn:
    """Accepts `key`. `fault` is one of None, "broken" (rejects every key, and repeats it), "slow", "no funds"."""

    def __init__(self, provider: str, key: str, aimock: str, fault: str | None = None):
        contract = json.loads((ROOT / f"tests/contract/providers/{provider}.json").read_text())
        self.paths: dict[str, str] = contract.get("aimock_paths", {})
        self.key, self.fault = key, fault
        self.aimock = urllib.parse.urlsplit(aimock)
        self.stopping = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    provider: StandIn

    def _answer(self):
        provider = self.provider
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = next((value for value in self.headers.values() if provider.key in value), None)
        if provider.fault == "broken" or key is None:
            message = f"Incorrect API key provided: {key}. Find your key in the console."
            return self._send(401, json.dumps({"error": {"message": message, "code": "invalid_api_key"}}).encode())
        if not body:
            return self._send(200, b'{"data": []}')
        if provider.fault == "no funds":
            return self._send(429, json.dumps(NO_FUNDS).encode())
        if provider.fault == "slow":
            provider.stopping.wait(SLOWNESS)
        target = self.path
        for begin, replacement in provider.paths.items():
            if target.startswith(begin):
                target = replacement + target[len(begin) :]
        aimock = http.client.HTTPConnection(provider.aimock.netloc, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        aimock.request(self.command, target, body, headers)
        response = aimock.getresponse()
        self._send(response.status, response.read(), response.headers.get_content_type())
        aimock.close()

    do_GET = do_POST = _answer

    def _send(self, status: int, body: bytes, media_type: str = "application/json"):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


#: Seconds; longer than the limit that the tests set.
SLOWNESS = 1.5
