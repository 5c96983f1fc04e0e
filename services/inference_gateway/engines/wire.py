"""How each engine is spoken to: paths below the base URL, and whether it knows `stream_options`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# By OpenTelemetry's name of the operation.
PATHS = MappingProxyType({"chat": "/chat/completions", "text_completion": "/completions", "embeddings": "/embeddings"})


@dataclass(frozen=True, slots=True)
class Wire:
    paths: Mapping[str, str] = field(default_factory=lambda: PATHS)
    stream_usage: bool = True


OPENAI = Wire()  # also for an engine that is not known by name: all speak OpenAI's API
WIRES: dict[str, Wire] = {
    "llama_cpp": Wire(),
    "vllm": Wire(),
    "openai": OPENAI,
    "tgi": Wire(),
}
