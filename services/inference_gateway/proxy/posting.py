"""One short question to another server, and its answer as JSON: for all that is no completion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from services.inference_gateway.proxy.pool import Pool
from services.inference_gateway.proxy.upstream import ClosedEarly, Garbage, UpstreamError


async def post(
    pool: Pool,
    path: str,
    body: dict[str, Any],
    most_bytes: int,
    key: str = "",
    on_sent: Callable[[], None] | None = None,
) -> Any:
    """A kept connection that died in the meantime is replaced once. `on_sent` hears of each time that `body` leaves.

    Raises: UpstreamError; UpstreamRefused.
    """
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {pool.authority}\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\ncontent-length: {len(content)}\r\n"
    )
    head += f"authorization: Bearer {key}\r\n" if key else ""
    data = f"{head}\r\n".encode("latin-1", "replace") + content
    try:
        raw = await _sent(pool, data, most_bytes, on_sent, fresh=False)
    except ClosedEarly:
        raw = await _sent(pool, data, most_bytes, on_sent, fresh=True)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Garbage("its answer is not JSON") from error


async def _sent(pool: Pool, data: bytes, most_bytes: int, on_sent: Callable[[], None] | None, fresh: bool) -> bytes:
    connection = await pool.acquire(fresh)
    if on_sent is not None:
        on_sent()
    collecting = _Collecting(most_bytes)
    try:
        connection.send(data, collecting)
        return await collecting.done
    finally:
        pool.release(connection)


class _Collecting:
    """A sink for one response of at most `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._most_bytes = most_bytes
        self._status = 0
        self._body: list[bytes] = []
        self._size = 0

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._size += len(data)
        if self._size > self._most_bytes:
            self.on_error(Garbage(f"its answer is larger than {self._most_bytes:,} bytes"))

    def on_read(self) -> None:
        pass

    def on_end(self) -> None:
        if self.done.done():
            return
        if self._status == 200:
            self.done.set_result(b"".join(self._body))
        else:
            self.done.set_exception(UpstreamError(f"it answered {self._status}"))

    def on_error(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
