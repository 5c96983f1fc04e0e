"""A real llama.cpp with a tiny random Llama and two LoRA adapters: who asks for one gets it, and nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gyre_trainers.convert import to_gguf
from gyre_trainers.convert_lora import lora_to_gguf
from gyre_trainers.testing import tiny_llama, tiny_lora

from services.inference_gateway.proxy.tests.conftest import replica

TEXTS = ["the bus was late, 3 33 333", "a crew will come today"] * 20


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base.gguf, merged.gguf (the base with the first adapter in it), maria.gguf and otto.gguf."""
    folder = tmp_path_factory.mktemp("weights")
    model = tiny_llama(folder / "model", TEXTS, vocabulary=400)
    to_gguf(model, folder / "base.gguf", "f32")
    for seed, name in enumerate(("maria", "otto")):
        adapter = tiny_lora(folder / name, model, seed=seed, merged=folder / f"{name}-merged")
        lora_to_gguf(adapter, model, folder / f"{name}.gguf")
    to_gguf(folder / "maria-merged", folder / "merged.gguf", "f32")
    return folder


@pytest.fixture(scope="module")
async def engine(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    adapters = [{"path": str(weights / "maria.gguf")}, {"path": str(weights / "otto.gguf")}]
    folder = tmp_path_factory.mktemp("adapted")
    async with replica(folder, weights / "base.gguf", adapters=adapters) as address:
        yield address


async def say(address: str, **fields: Any) -> str:
    body = {"prompt": "the bus", "max_tokens": 12, "temperature": 0, "seed": 7, "cache_prompt": False} | fields
    async with httpx.AsyncClient(timeout=60) as http:
        reply = await http.post(f"http://{address}/v1/completions", json=body)
    return str(reply.raise_for_status().json()["choices"][0]["text"])


def only(number: int) -> list[dict[str, float]]:
    return [{"id": each, "scale": float(each == number)} for each in (0, 1)]


async def test_each_adapter_answers_as_the_merged_model_would_and_the_base_as_it_does_alone(engine, weights, tmp_path):
    async with replica(tmp_path, weights / "base.gguf") as alone:
        base = await say(alone)
    (tmp_path / "ready.json").unlink()
    async with replica(tmp_path, weights / "merged.gguf") as alone:
        merged = await say(alone)
    assert await say(engine) == base
    assert await say(engine, lora=only(0)) == merged
    assert len({base, merged, await say(engine, lora=only(1))}) == 3
    assert await say(engine) == base  # nothing of the request before is left
