"""The playground's way to the OpenAI endpoint: same origin, the console's own key, passed on chunk by chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from gyre_kit.app import Context
from gyre_kit.errors import Invalid, Unavailable

from services.api_gateway import service

TIMEOUT = aiohttp.ClientTimeout(total=300, connect=5)
MAX_BODY = 1024 * 1024
TOLD = ("x-gyre-version", "retry-after")  # headers of the answer that the page reads


class EndpointUnavailable(Unavailable):
    """The OpenAI endpoint does not answer. `gyre status` says whether inference_gateway runs."""


class ChatTooLong(Invalid):
    """A request from the playground has at most 1 MiB."""


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["playground"])

    @router.post("/projects/{project}/chat/completions")
    async def chat(request: Request, project: str) -> StreamingResponse:
        """An OpenAI chat completion, streamed or not, as the project's console."""
        await context().state["identities"].identify(request, project)
        body = await request.body()
        if len(body) > MAX_BODY:
            raise ChatTooLong(bytes=len(body))
        return await _pass_on(context(), project, body)

    return router


async def _pass_on(context: Context, project: str, body: bytes) -> StreamingResponse:
    http: aiohttp.ClientSession = context.state["http"]
    host = context.settings.peer_host.format(component="inference-gateway")
    url = f"http://{host}:{context.settings.openai_port}/v1/chat/completions"
    key = service.console_key(service.load_console_secret(context.settings.keys_folder / "console.secret"), project)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        reply = await http.post(url, data=body, headers=headers, timeout=TIMEOUT)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EndpointUnavailable() from error
    told = {name: reply.headers[name] for name in TOLD if name in reply.headers}
    media_type = reply.headers.get("content-type", "application/json")
    return StreamingResponse(_chunks(reply), status_code=reply.status, media_type=media_type, headers=told)


async def _chunks(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.content.iter_any():
            yield chunk
    finally:
        reply.close()
