"""The client: makes requests through Keyside, without any credential, and reads each response as events."""

import binascii
import http.client
import json
import struct
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from relay import CREDENTIAL_HEADERS
from shapes import mismatches

TIMEOUT = 60
#: The last event of OpenAI's streams, which is not JSON.
DONE = "[DONE]"


@dataclass
class Answer:
    """What the client received."""

    status: int
    headers: dict[str, str]
    events: list[Any] = field(default_factory=list)
    """The JSON body, or each event of a stream, or each message of a WebSocket."""
    complete: bool = True

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip()


def ask(url: str, method: str, headers: dict[str, str], body: Any) -> Answer:
    """One request over HTTP."""
    _assert_no_credential(headers)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    content = None if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json"} if content else {}
    try:
        connection.request(method, f"{parts.path}{f'?{parts.query}' if parts.query else ''}", content, fields | headers)
        response = connection.getresponse()
        answer = Answer(response.status, _lower(response.getheaders()))
        try:
            received = response.read()
        except http.client.IncompleteRead as cut:
            received, answer.complete = cut.partial, False
    finally:
        connection.close()
    answer.events = list(_events(answer.media_type, received))
    return answer


def converse(url: str, headers: dict[str, str], messages: list[Any], until: dict) -> Answer:
    """A WebSocket: sends the messages, and reads up to an event like `until`."""
    _assert_no_credential(headers)
    address = url.replace("http", "ws", 1)
    try:
        # Without the environment's proxy, which websockets would use.
        with connect(address, additional_headers=headers, open_timeout=TIMEOUT, proxy=None) as channel:
            handshake = channel.response
            answer = Answer(handshake.status_code, _lower(handshake.headers.raw_items()))
            for message in messages:
                channel.send(json.dumps(message))
            while not answer.events or mismatches(answer.events[-1], until):
                answer.events.append(json.loads(channel.recv(timeout=TIMEOUT)))
    except InvalidStatus as refused:
        response = refused.response
        answer = Answer(response.status_code, _lower(response.headers.raw_items()))
        answer.events = list(_events(answer.media_type, response.body or b""))
    except (ConnectionClosed, TimeoutError):
        answer.complete = False
    return answer


def _lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _assert_no_credential(headers: dict[str, str]):
    assert not {name.lower() for name in headers} & set(CREDENTIAL_HEADERS), "the client sends no credential"


def _events(media_type: str, received: bytes) -> Iterator[Any]:
    if media_type == "text/event-stream":
        yield from _server_sent(received)
    elif media_type == "application/vnd.amazon.eventstream":
        yield from _amazon(received)
    elif received:
        yield json.loads(received)


def _server_sent(received: bytes) -> Iterator[Any]:
    for line in received.decode().splitlines():
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            yield data if data == DONE else json.loads(data)


def _amazon(received: bytes) -> Iterator[dict]:
    """AWS's event stream: each message as `{event type: payload}`, with both checksums checked."""
    while received:
        length, head_length, checksum = struct.unpack(">III", received[:12])
        message, received = received[:length], received[length:]
        assert binascii.crc32(message[:8]) == checksum, "the checksum of a message's prelude"
        assert binascii.crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0], "the checksum of a message"
        yield {_headers(message[12 : 12 + head_length])[":event-type"]: json.loads(message[12 + head_length : -4])}


def _headers(block: bytes) -> dict[str, str]:
    headers = {}
    while block:
        name, block = block[1 : 1 + block[0]].decode(), block[1 + block[0] :]
        assert block[0] == 7, "only headers with text are known here"
        (length,) = struct.unpack(">H", block[1:3])
        headers[name], block = block[3 : 3 + length].decode(), block[3 + length :]
    return headers
