"""The bytes of HTTP/1.1 that a worker writes, and the request that it has read."""

from __future__ import annotations

from collections.abc import Iterable
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
# As clients and engines mostly write them: found sooner than made.
_COMMON = (
    "Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Length", "Content-Type", "Date", "Host",
    "Keep-Alive", "Server", "Transfer-Encoding", "User-Agent", "X-Request-Id",
)  # fmt: skip
NAMES = {form.encode(): name.lower() for name in _COMMON for form in (name, name.lower())}


class Request:
    """One request. Header names are lower case; of a repeated header the last value counts. `caller` is set when its
    key was found good; `received` is when its last byte came, on the server's clock; `spool` has the body of an upload."""

    __slots__ = (
        "body", "caller", "headers", "http_1_0", "keep_alive", "method", "path", "query", "received", "spool"
    )  # fmt: skip

    def __init__(
        self, method: str, path: str, headers: dict[str, str], keep_alive: bool, http_1_0: bool, query: str
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""
        self.keep_alive = keep_alive
        self.http_1_0 = http_1_0
        self.received = 0.0
        self.caller: Key | None = None
        self.query = query
        self.spool: Spool | None = None

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
    """Status line and headers. A line break in a value becomes a space."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        text = "".join([header_safe(line[:-2]) + "\r\n" for line in lines])
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n{text}\r\n".encode("latin-1", "replace")


def header_safe(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ") if "\r" in value or "\n" in value else value


def response(status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), keep_alive: bool = True) -> bytes:
    """A whole reply with a length; JSON, unless `headers` say otherwise."""
    fields = {"content-type": JSON, "content-length": str(len(body)), **dict(headers)}
    if not keep_alive:
        fields["connection"] = "close"
    return head(status, fields.items()) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
