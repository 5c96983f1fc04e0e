"""Which adapter serves which engine."""

from __future__ import annotations

from services.inference_gateway.engines.base import Engine
from services.inference_gateway.engines.llama_cpp import LlamaCpp
from services.inference_gateway.engines.openai import OpenAI
from services.inference_gateway.engines.tgi import Tgi
from services.inference_gateway.engines.vllm import Vllm

ENGINES: dict[str, Engine] = {
    "llama_cpp": LlamaCpp(),
    "vllm": Vllm(),
    "openai": OpenAI(),
    "tgi": Tgi(),
}
