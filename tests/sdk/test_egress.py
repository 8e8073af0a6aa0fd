"""Behind a company's proxy: an SDK's requests pass through a real proxy, which sees no key."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
import trustme

from conftest import DUMMY_KEY, GOOD, binary
from harness.calls import GPT, Way
from harness.canary import canary, leaks
from harness.egress import HOST, Proxy
from harness.keyside import Keyside

CREDENTIALS = "runner:canary-egress-password"
ANSWER = {
    "id": "chatcmpl-egress",
    "object": "chat.completion",
    "created": 0,
    "model": GPT,
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "through the proxy"}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class Provider:
    """OpenAI's chat endpoint behind TLS, under a name that resolves nowhere."""

    def __init__(self, authority: trustme.CA):
        self.keys: list[str] = []
        keys = self.keys

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                keys.append(self.headers["Authorization"])
                body = json.dumps(ANSWER).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST).configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.target = f"{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def provider(authority):
    provider = Provider(authority)
    yield provider
    provider.stop()


@pytest.fixture
def behind(tmp_path, authority, provider):
    """Starts a proxy, and a Keyside that can only use that proxy; returns both, and the stored key.
    """
    running = []

    def start(protocol: str, asked: str | None = None, given: str | None = None):
        proxy = Proxy(protocol, asked)
        running.append(proxy)
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        egress = {"proxy": proxy.url, "ca_file": "authority.pem"}
        if given:
            (tmp_path / "proxy-password").write_text(f"{given}\n")
            egress["credentials_file"] = "proxy-password"
        keyside = Keyside(binary(), tmp_path, {"openai": f"https://{provider.target}"}, {"egress": egress})
        running.append(keyside)
        key = canary("sk-proj-")
        keyside.add_workspace(GOOD)
        keyside.add_key(GOOD, "openai", key)
        return proxy, keyside, key

    yield start
    for one in reversed(running):
        one.stop()


@pytest.mark.parametrize("protocol", ["http", "socks5"])
@pytest.mark.parametrize("credentials", [None, CREDENTIALS], ids=["open", "with a password"])
def a_completion_comes_through_the_proxy_which_sees_no_key(protocol, credentials, behind, provider):
    proxy, keyside, key = behind(protocol, credentials, credentials)

    assert _ask(keyside) == "through the proxy"

    assert provider.keys == [f"Bearer {key}"]
    assert proxy.asked_for(provider.target)
    assert leaks(key, proxy.said) == []
    if credentials:
        password = credentials.split(":")[1].encode()
        assert not any(password in output.everything() for output in keyside.outputs.values())


@pytest.mark.parametrize("protocol", ["http", "socks5"])
@pytest.mark.parametrize("given", [None, "runner:wrong"], ids=["without one", "with another"])
def a_proxy_that_wants_another_password_is_named(protocol, given, behind, provider):
    proxy, keyside, _ = behind(protocol, CREDENTIALS, given)

    with pytest.raises(openai.InternalServerError) as refused:
        _ask(keyside)

    assert refused.value.status_code == 502
    assert refused.value.body["code"] == "upstream_unreachable"
    assert f"egress proxy {proxy.address}" in refused.value.message
    assert provider.keys == []


def _ask(keyside: Keyside) -> str:
    way = Way(f"{keyside.proxy}/w/{GOOD}/openai", DUMMY_KEY, retries=0)
    with way.to_openai() as client:
        said = client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "hello"}])
    return said.choices[0].message.content
