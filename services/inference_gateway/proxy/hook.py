"""A project's own program is asked whether a prompt may go out, or an answer in.

It gets `{"phase": "before" | "after", "project", "deployment", "id", "messages" or "answer"}` by POST and says
`{"allow": true}`, or `{"allow": false, "reason": "…"}`. Its address came from a person, so every connection to it is
checked as those to rented engines are (`ssrf.py`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy.pool import Pool
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.upstream import ClosedEarly, UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.gateway import Gateway
    from services.inference_gateway.proxy.policy import Hook

MOST_BYTES = 64 * 1024
LONGEST_REASON = 200


class HookFailed(Exception):
    """It did not answer in time, or not properly."""


@dataclass(frozen=True, slots=True)
class Verdict:
    allow: bool
    reason: str = ""


async def ask(gateway: Gateway, hook: Hook, question: dict[str, Any]) -> Verdict:
    """Raises: HookFailed."""
    try:
        async with asyncio.timeout(hook.seconds):
            return _verdict(await _posted(gateway, hook.url, json.dumps(question).encode()))
    except TimeoutError as error:
        raise HookFailed(f"no answer within {hook.seconds:g} s") from error
    except (UpstreamError, UpstreamRefused, ValueError) as error:
        raise HookFailed(str(error)) from error


async def _posted(gateway: Gateway, url: str, body: bytes) -> bytes:
    """A kept connection that died in the meantime is replaced once."""
    pool, path = gateway.pools.of(url, True)
    head = (
        f"POST {path or '/'} HTTP/1.1\r\nhost: {pool.authority}\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    data = head.encode("latin-1", "replace") + body
    try:
        return await _sent(pool, data, fresh=False)
    except ClosedEarly:
        return await _sent(pool, data, fresh=True)


async def _sent(pool: Pool, data: bytes, fresh: bool) -> bytes:
    connection = await pool.acquire(fresh)
    collecting = _Collecting()
    try:
        connection.send(data, collecting)
        return await collecting.done
    finally:
        pool.release(connection)


def _verdict(raw: bytes) -> Verdict:
    """Raises: ValueError."""
    said = json.loads(raw)
    if not isinstance(said, dict) or not isinstance(said.get("allow"), bool):
        raise ValueError("its answer has no `allow` that is true or false")
    return Verdict(said["allow"], str(said.get("reason") or "")[:LONGEST_REASON])


class _Collecting:
    """A sink for one short response."""

    def __init__(self) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = b""

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MOST_BYTES:
            self.on_error(UpstreamError(f"its answer is larger than {MOST_BYTES:,} bytes"))

    def on_read(self) -> None:
        pass

    def on_end(self) -> None:
        if self.done.done():
            return
        if self._status == 200:
            self.done.set_result(self._body)
        else:
            self.done.set_exception(UpstreamError(f"it answered {self._status}"))

    def on_error(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
