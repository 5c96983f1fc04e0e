"""The adapter interface: three facts and one question that every engine must know; abilities apart.

The data plane reads only the facts. The control plane asks `health`, and abilities where an engine has them
(`isinstance(engine, HotAdapters)`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import aiohttp

from services.inference_gateway.engines.wire import Wire

HEALTH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one engine answers: `base_url` ends before `/chat/completions`; `api_key` is empty for none."""

    base_url: str
    model: str
    api_key: str = ""

    @property
    def root_url(self) -> str:
        """The server itself, where engines have paths of their own beside `/v1`."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: it gave a real answer. `detail` says what was wrong, for people."""

    ready: bool
    detail: str = ""
    seconds: float = 0.0


class Engine(Protocol):
    """Required of every engine."""

    name: str
    wire: Wire

    async def health(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> Health: ...


@runtime_checkable
class HotAdapters(Protocol):
    """Ability: LoRA adapters come and go while it serves. To load what is there, or to unload what is not, is no error.

    Raises: aiohttp.ClientError, also where there is no adapter in `path`, a folder that the engine sees.
    """

    async def load_adapter(self, http: aiohttp.ClientSession, endpoint: Endpoint, name: str, path: str) -> None: ...

    async def unload_adapter(self, http: aiohttp.ClientSession, endpoint: Endpoint, name: str) -> None: ...

    async def loaded_adapters(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> set[str]: ...


async def ask_one_token(http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
    """Ready means: it answers. A health path that says yes while the model cannot be asked proves nothing."""
    body = {"model": endpoint.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0}
    return await _ask(http, endpoint, "/chat/completions", body, "choices")


async def ask_one_vector(http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
    """The same of a model that makes embeddings."""
    return await _ask(http, endpoint, "/embeddings", {"model": endpoint.model, "input": "Hi"}, "data")


async def _ask(
    http: aiohttp.ClientSession, endpoint: Endpoint, path: str, body: dict[str, Any], expected: str
) -> Health:
    started = time.monotonic()
    url = endpoint.base_url.rstrip("/") + path
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            async with http.post(url, json=body, headers=endpoint.headers(), allow_redirects=False) as reply:
                if reply.status != 200:
                    return Health(False, f"it answered {reply.status}: {(await reply.text())[:300]}")
                if not (await reply.json(content_type=None)).get(expected):
                    return Health(False, f"its reply has no `{expected}`")
    except TimeoutError:
        return Health(False, f"no answer within {HEALTH_SECONDS:g} s")
    except (aiohttp.ClientError, OSError, ValueError, AttributeError) as error:
        return Health(False, f"it cannot be asked: {error}")
    return Health(True, seconds=time.monotonic() - started)


async def list_models(http: aiohttp.ClientSession, endpoint: Endpoint) -> list[str]:
    """Names that the engine gives its models. Raises: aiohttp.ClientError, TimeoutError, ValueError."""
    url = f"{endpoint.base_url.rstrip('/')}/models"
    async with asyncio.timeout(HEALTH_SECONDS):
        async with http.get(url, headers=endpoint.headers(), allow_redirects=False, raise_for_status=True) as reply:
            models: Any = await reply.json(content_type=None)
    try:
        return [str(each["id"]) for each in models["data"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{url} is no list of models") from error


def metric_sum(text: str, name: str) -> float:
    """The sum of a metric over its labels, in Prometheus' text format; 0 where it is not there."""
    total = 0.0
    for line in text.splitlines():
        if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " "):
            total += float(line.rsplit(" ", 1)[1])
    return total
