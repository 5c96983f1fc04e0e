"""A name that counts as own hardware leads nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.inference_gateway.proxy.pool import Pools
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.ssrf import UpstreamRefused


@pytest.mark.parametrize("host", ["vllm", "card.internal"])
async def test_a_private_name_with_a_public_address_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("8.8.8.8", 80))]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolved, raising=False)
    pool, _ = Pools(ProxySettings(), loop.time).of(f"http://{host}/v1", True)
    with pytest.raises(UpstreamRefused, match="counts as own hardware"):
        await pool.acquire()
