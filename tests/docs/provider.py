"""A provider that can change its mind about a key."""

import http.server
import json
import ssl
import threading

ERROR = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
TEXT = "Hello! How can I help?"
USAGE = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}


class Provider:
    """Accepts exactly the keys in `good`, and responds in the format of OpenAI; with `tls`, over TLS."""

    def __init__(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None):
        self.good: set[str] = set()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if key not in provider.good:
                    self._respond(401, json.dumps({"error": ERROR}))
                elif b'"stream":true' in asked.replace(b" ", b""):
                    self._respond(200, _stream(), "text/event-stream")
                else:
                    message = {"role": "assistant", "content": TEXT}
                    body = {"object": "list", "data": [], "choices": [{"index": 0, "message": message}], "usage": USAGE}
                    self._respond(200, json.dumps(body))

            do_POST = do_GET

            def _respond(self, status: int, body: str, kind: str = "application/json"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def _stream() -> str:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": "stop"}]}
    events = [chunk, {"object": "chat.completion.chunk", "choices": [], "usage": USAGE}]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
