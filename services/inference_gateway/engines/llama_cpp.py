"""llama.cpp's server, in our replicas (`engine.py`) or started by somebody else."""

from __future__ import annotations

import aiohttp

from services.inference_gateway.engines.base import (
    Endpoint,
    Health,
    ask_one_token,
    ask_one_vector,
)
from services.inference_gateway.engines.wire import WIRES


class LlamaCpp:
    """Adapters are given at its start (`engine.py`), so it has no HotAdapters; a request says which of them count."""

    name = "llama_cpp"
    wire = WIRES["llama_cpp"]

    async def health(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
        """`/health` first: it says 503 while the weights load, and asking then would only fill its queue."""
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with http.get(f"{endpoint.root_url}/health", timeout=timeout) as reply:
                if reply.status != 200:
                    return Health(False, f"it loads the model ({reply.status})")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Health(False, f"it cannot be reached: {error or 'no answer'}")
        vector = await ask_one_vector(http, endpoint)  # a chat model refuses it (501) before it computes anything
        return vector if vector.ready else await ask_one_token(http, endpoint)
