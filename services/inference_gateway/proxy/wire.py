"""The bytes of HTTP/1.1 that a worker writes, and the request that it has read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from services.inference_gateway.proxy import ulid
from services.inference_gateway.proxy.snapshot import Key

if TYPE_CHECKING:
    from services.inference_gateway.proxy.spool import Spool

REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
JSON = "application/json; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"
REQUEST_ID = "x-request-id"


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; of a repeated header the last value counts. `caller` is set when its
    key was found good; `received` is when its last byte came, on the server's clock; `spool` has the body of an upload."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    http_1_0: bool = False
    received: float = 0.0
    caller: Key | None = None
    query: str = ""
    spool: Spool | None = None

    def bearer(self) -> str:
        """The API key: `Authorization: Bearer`, or `api-key`, as Azure's clients send it."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
        return self.headers.get("api-key", "").strip()


def request_id() -> dict[str, str]:
    """The header by which people talk about one answer, where it is no completion with an id of its own."""
    return {REQUEST_ID: f"req_{ulid.new()}"}


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers. Values are ours or were checked: no line break can come through `header_safe`."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {header_safe(value)}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def header_safe(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ") if "\r" in value or "\n" in value else value


def response(status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), keep_alive: bool = True) -> bytes:
    """A whole reply with a length."""
    fields = [("content-type", JSON), ("content-length", str(len(body))), *headers]
    if not keep_alive:
        fields.append(("connection", "close"))
    return head(status, fields) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
