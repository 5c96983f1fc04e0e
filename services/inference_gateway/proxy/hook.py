"""A project's own program is asked whether a prompt may go out, or an answer in.

It gets `{"phase": "before" | "after", "project", "deployment", "id", "messages" or "answer"}` by POST and says
`{"allow": true}`, or `{"allow": false, "reason": "…"}`. Its address came from a person, so every connection to it is
checked as those to rented engines are (`ssrf.py`), and so is where it computes (`regions.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
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
    """Raises: HookFailed, also where its region is ruled out: then nothing is sent."""
    if not hook.is_allowed:
        raise HookFailed(f"the project's regions do not allow {hook.sent_to} in {hook.region or 'an unknown region'}")
    leaves = (str(question["project"]), hook.sent_to, hook.region)
    on_sent = partial(gateway.sent_out.count_at, leaves) if hook.sent_to else None
    try:
        async with asyncio.timeout(hook.seconds):
            pool, path = gateway.pools.of(hook.url, True)
            return _verdict(await posting.post(pool, path or "/", question, MOST_BYTES, on_sent=on_sent))
    except TimeoutError as error:
        raise HookFailed(f"no answer within {hook.seconds:g} s") from error
    except (UpstreamError, UpstreamRefused, ValueError) as error:
        raise HookFailed(str(error)) from error


def _verdict(said: Any) -> Verdict:
    """Raises: ValueError."""
    if not isinstance(said, dict) or not isinstance(said.get("allow"), bool):
        raise ValueError("its answer has no `allow` that is true or false")
    return Verdict(said["allow"], str(said.get("reason") or "")[:LONGEST_REASON])
