"""vLLM's OpenAI server."""

from __future__ import annotations

import aiohttp

from services.inference_gateway.engines.base import (
    Endpoint,
    Health,
    ask_one_token,
    list_models,
)
from services.inference_gateway.engines.wire import WIRES


class Vllm:
    """Loads adapters while it serves where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."""

    name = "vllm"
    wire = WIRES["vllm"]

    async def health(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
        return await ask_one_token(http, endpoint)

    async def load_adapter(self, http: aiohttp.ClientSession, endpoint: Endpoint, name: str, path: str) -> None:
        await self._post(
            http, endpoint, "load_lora_adapter", {"lora_name": name, "lora_path": path}, "already been loaded"
        )

    async def unload_adapter(self, http: aiohttp.ClientSession, endpoint: Endpoint, name: str) -> None:
        await self._post(http, endpoint, "unload_lora_adapter", {"lora_name": name}, "cannot be found")

    async def loaded_adapters(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> set[str]:
        return set(await list_models(http, endpoint)) - {endpoint.model}

    async def _post(
        self, http: aiohttp.ClientSession, endpoint: Endpoint, path: str, body: dict[str, str], so_already: str
    ) -> None:
        """`so_already`: how it says that there is nothing to do; its status means other things, too."""
        url = f"{endpoint.base_url.rstrip('/')}/{path}"
        async with http.post(url, json=body, headers=endpoint.headers()) as reply:
            if so_already not in await reply.text():
                reply.raise_for_status()
