"""Which engine loads which form of a model, and what is said where none does."""

from __future__ import annotations

import pytest
from gyre.model_registry.v1.variant_pb2 import Variant

from services.inference_gateway import lookups
from services.inference_gateway.lookups import EngineNotLaunched, FormatUnsupported

GGUF = Variant(format=Variant.FORMAT_GGUF, quantisation="Q8_0")
HF = Variant(format=Variant.FORMAT_HF)
AWQ = Variant(format=Variant.FORMAT_COMPRESSED_TENSORS, quantisation="AWQ")


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYRE_VLLM_PYTHON", "/opt/vllm/bin/python")


@pytest.mark.usefixtures("vllm")
def test_the_variant_decides_on_the_engine() -> None:
    assert [lookups._engine("", variant) for variant in (GGUF, HF, AWQ)] == ["LLAMA_CPP", "VLLM", "VLLM"]


@pytest.mark.usefixtures("vllm")
def test_llama_cpp_refuses_what_llm_compressor_made_and_says_which_engine_to_take() -> None:
    with pytest.raises(FormatUnsupported, match=r"llama\.cpp cannot load AWQ weights; take the engine vLLM"):
        lookups._engine("LLAMA_CPP", AWQ)
    with pytest.raises(FormatUnsupported, match=r"llama\.cpp loads GGUF"):
        lookups._engine("VLLM", GGUF)


def test_without_vllm_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GYRE_VLLM_PYTHON", raising=False)
    with pytest.raises(EngineNotLaunched, match="GYRE_VLLM_PYTHON"):
        lookups._engine("", AWQ)
