"""A fake provider that accepts certain keys and responds to others with 401. The keys can change
while it runs."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.web import eventually

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "1, 2, 3"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}


class Provider:
    """Implements OpenAI's chat completions. The SDK suite's aimock reads its keys only once; here
    they rotate."""

    def __init__(self):
        self.good: set[str] = set()
        self.seen: list[str] = []
        """The key of each request, in the order in which they arrived."""
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def saw(self, key: str, within: float) -> bool:
        """Whether a request with this key arrives before the deadline."""
        return eventually(lambda: key in self.seen, within)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.provider.seen.append(key)
        if key in self.provider.good:
            self._answer(200, ANSWER)
        else:
            self._answer(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})

    def _answer(self, status: int, body: dict):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
