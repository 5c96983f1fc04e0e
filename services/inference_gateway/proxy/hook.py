"""A project's own program is asked whether a prompt may go out, or an answer in.

It gets `{"phase": "before" | "after", "project", "deployment", "id", "messages" or "answer"}` by POST and says
`{"allow": true}`, or `{"allow": false, "reason": "…"}`. Its address came from a person, so every connection to it is
checked as those to rented engines are (`ssrf.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy import posting
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.upstream import UpstreamError

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
            pool, path = gateway.pools.of(hook.url, True)
            return _verdict(await posting.post(pool, path or "/", question, MOST_BYTES))
    except TimeoutError as error:
        raise HookFailed(f"no answer within {hook.seconds:g} s") from error
    except (UpstreamError, UpstreamRefused, ValueError) as error:
        raise HookFailed(str(error)) from error


def _verdict(said: Any) -> Verdict:
    """Raises: ValueError."""
    if not isinstance(said, dict) or not isinstance(said.get("allow"), bool):
        raise ValueError("its answer has no `allow` that is true or false")
    return Verdict(said["allow"], str(said.get("reason") or "")[:LONGEST_REASON])
