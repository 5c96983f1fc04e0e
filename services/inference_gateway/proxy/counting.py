"""`POST /v1/responses/input_tokens`: how many tokens a prompt has, by the engine that would be asked. Nothing is
generated, and nothing is billed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy import errors, posting, wire
from services.inference_gateway.proxy.asking import Asking
from services.inference_gateway.proxy.snapshot import Deployment, Target, TargetState
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.gateway import Gateway
    from services.inference_gateway.proxy.reply import Reply
    from services.inference_gateway.proxy.routing import Wish

SECONDS = 30.0
TOKEN_BYTES = 32  # of a token's number in JSON, and more
# What of a chat completion says how its prompt is spelt out.
OF_THE_PROMPT = ("messages", "tools", "tool_choice", "chat_template_kwargs", "response_format", "reasoning_effort")
Post = Callable[[str, dict[str, Any]], Awaitable[Any]]


async def answer(gateway: Gateway, ask: Asking, deployment: Deployment, wish: Wish, reply: Reply) -> None:
    """Raises: ApiError, also where this engine cannot count."""
    target = gateway.router.choose(deployment, wish, [], ask.prefix)
    if target is None or target.state is TargetState.ASLEEP:
        raise errors.not_ready(ask.model)
    try:
        async with asyncio.timeout(SECONDS):
            tokens = await _count(gateway, target, ask)
    except TimeoutError as error:
        raise errors.upstream_timeout(f"not counted within {SECONDS:g} s") from error
    except UpstreamRefused as error:
        raise errors.upstream_misconfigured(str(error)) from error
    except (UpstreamError, KeyError, TypeError) as error:
        raise errors.upstream_failed(f"it did not count: {error}") from error
    body = {"object": "response.input_tokens", "input_tokens": tokens}
    reply.send(200, json.dumps(body).encode(), wire.request_id())


async def _count(gateway: Gateway, target: Target, ask: Asking) -> int:
    count = COUNTS.get(target.engine)
    if count is None:
        raise errors.counts_no_tokens(target.engine)
    pool, base_path = gateway.pools.of(target.base_url, target.chosen_by_user)
    root = base_path.removesuffix("/v1")
    key = gateway.upstream_key(target.upstream_key_ref) if target.upstream_key_ref else ""
    most = gateway.settings.max_body_bytes * TOKEN_BYTES

    async def post(path: str, body: dict[str, Any]) -> Any:
        return await posting.post(pool, root + path, body, most, key)

    prompt = {name: ask.fields[name] for name in OF_THE_PROMPT if ask.fields.get(name) is not None}
    return await count(post, prompt, target.upstream_model)


async def _by_llama_cpp(post: Post, prompt: dict[str, Any], _: str) -> int:
    """Spelt out by the model's template, then cut into tokens as its server does for a chat."""
    spelt = (await post("/apply-template", prompt))["prompt"]
    content = {"content": spelt, "add_special": True, "parse_special": True}
    return len((await post("/tokenize", content))["tokens"])


async def _by_vllm(post: Post, prompt: dict[str, Any], model: str) -> int:
    return int((await post("/tokenize", prompt | {"model": model}))["count"])


COUNTS = {"llama_cpp": _by_llama_cpp, "vllm": _by_vllm}
