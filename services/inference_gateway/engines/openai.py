"""Any endpoint that speaks OpenAI's API: a rented one, or an engine that somebody runs already."""

from __future__ import annotations

import aiohttp

from services.inference_gateway.engines.base import Endpoint, Health, list_models
from services.inference_gateway.engines.wire import WIRES


class OpenAI:
    """Asked for its list of models, not for an answer: an answer may cost money."""

    name = "openai"
    wire = WIRES["openai"]

    async def health(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> Health:
        try:
            models = await list_models(http, endpoint)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Health(False, f"it cannot be asked: {error or 'no answer in time'}")
        if endpoint.model and models and endpoint.model not in models:
            return Health(False, f"it has no model '{endpoint.model}'; it lists {', '.join(models[:10])}")
        return Health(True)
