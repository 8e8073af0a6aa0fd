"""A fake of all providers: records each request's head, and responds in the format that its path
requires."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from upstream import credentials

TEXT = "One, two, three, as the recorder counts."

_CREATED = {"id": "id-1", "created": 1, "model": "a-model"}
_ANSWERED = {"role": "assistant", "content": TEXT}
_BLOCKS = [{"type": "text", "text": TEXT}]
_CHAT_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_USAGE = {"input_tokens": 1, "output_tokens": 1}

#: The response by the end of the path; the first match applies.
ANSWERS = {
    "/chat/completions": {
        **_CREATED,
        "object": "chat.completion",
        "system_fingerprint": None,
        "choices": [{"index": 0, "finish_reason": "stop", "message": _ANSWERED}],
        "usage": _CHAT_USAGE,
    },
    "/responses": {
        **_CREATED,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "output": [
            {
                "id": "id-2",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
            }
        ],
    },
    "/converse": {
        "output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        "metrics": {"latencyMs": 1},
    },
    ":generateContent": {"candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP"}]},
    "/v2/chat": {"id": "id-1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": _BLOCKS}},
    "/messages": {
        **_CREATED,
        "type": "message",
        "role": "assistant",
        "content": _BLOCKS,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
    },
}
ANSWERS["/invoke"] = ANSWERS["/messages"]


@dataclass(frozen=True)
class Head:
    """The head of a request, as it arrived."""

    request: str
    """Method and path, without the query."""
    credentials: tuple[str, ...]
    text: str
    """The whole head."""


class Recorder:
    def __init__(self):
        self.heads: list[Head] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"recorder": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def log_message(self, *_):
        pass

    def do_POST(self):
        path = self.path.partition("?")[0]
        request = f"{self.command} {path}"
        self.recorder.heads.append(Head(request, credentials(self), f"{self.requestline}\n{self.headers}"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = next((answer for end, answer in ANSWERS.items() if path.endswith(end)), None)
        body = json.dumps(answer or {"error": {"message": f"nothing is at {path}"}}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST
