"""Text Generation Inference. Archived by its makers: kept thin, for those who still run it."""

from __future__ import annotations

import aiohttp

from services.inference_gateway.engines.base import Endpoint, Health, ask_one_token
from services.inference_gateway.engines.wire import WIRES


class Tgi:
    """Its own name for whatever model it serves is `tgi`. It takes adapters at its start alone."""

    name = "tgi"
    wire = WIRES["tgi"]

    async def health(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
        return await ask_one_token(http, endpoint)
