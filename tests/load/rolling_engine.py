"""A mock engine that serves one version: it says which, and keeps account of every request, over its own `kill -9` too.

    python tests/load/rolling_engine.py --version 3 --port 9000 --log FILE

A request has its number in its prompt (`number 17`). Whole answers come after some milliseconds, streams in pieces;
each has the version, the number, and how often this engine has answered that number. The log has a line when a request
has come (`asked 17`) and one when the last byte of its answer was written (`answered 17`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from collections import Counter
from typing import Any, ClassVar

import httptools
import uvloop

NUMBER = re.compile(rb"number (\d+)")
PIECES = 4
PIECE_SECONDS = 0.003
PROMPT_TOKENS = 7
SHARED = {"id": "chatcmpl-mock", "created": 1, "model": "mock"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def tokens_of(number: int) -> int:
    """Of the answer to a request: not the same for all, so that a sum tells which were billed."""
    return PIECES + number % 11


def usage_of(number: int) -> dict[str, int]:
    answer = tokens_of(number)
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": answer,
        "total_tokens": PROMPT_TOKENS + answer,
    }


class Engine(asyncio.Protocol):
    """One connection; what all share is on the class."""

    version = ""
    log = -1
    answered: ClassVar[Counter[int]] = Counter()

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser, self.body = transport, httptools.HttpRequestParser(self), b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        found = NUMBER.search(self.body)
        number, is_stream = int(found[1]) if found else 0, b'"stream": true' in self.body
        self.body = b""
        self._note("asked", number)
        later = asyncio.get_running_loop().call_later
        if is_stream:
            self.transport.write(STREAM_HEAD)
            later(PIECE_SECONDS, self._piece, number, 0)
        else:
            later(PIECE_SECONDS * PIECES, self._whole, number)

    def _whole(self, number: int) -> None:
        message = {"role": "assistant", "content": self._said(number)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        fields = SHARED | {"object": "chat.completion", "choices": [choice], "usage": usage_of(number)}
        body = json.dumps(fields).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._end(number, head.encode() + body)

    def _piece(self, number: int, at: int) -> None:
        """The first says who answers; with the last go usage and the end."""
        if self.transport.is_closing():
            return
        if at < PIECES:
            self.transport.write(_event(_chunk({"content": self._said(number) if at == 0 else " on"}, None)))
            asyncio.get_running_loop().call_later(PIECE_SECONDS, self._piece, number, at + 1)
            return
        usage = json.dumps(SHARED | {"object": "chat.completion.chunk", "choices": [], "usage": usage_of(number)})
        self._end(number, _event(_chunk({}, "stop")) + _event(usage.encode()) + _event(b"[DONE]") + b"0\r\n\r\n")

    def _said(self, number: int) -> str:
        return f"version {self.version} number {number} time {self.answered[number] + 1}"

    def _end(self, number: int, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.answered[number] += 1
        self.transport.write(data)
        self._note("answered", number)

    def _note(self, what: str, number: int) -> None:
        os.write(self.log, f"{what} {number}\n".encode())


def _chunk(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps(SHARED | {"object": "chat.completion.chunk", "choices": [choice]}).encode()


def _event(payload: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(payload) + 8, payload)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    Engine.version = options.version
    Engine.log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    uvloop.run(serve(options.port))
