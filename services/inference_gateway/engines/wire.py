"""How each engine is spoken to: paths below the base URL, and whether it knows `stream_options`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wire:
    chat_path: str = "/chat/completions"
    text_path: str = "/completions"
    stream_usage: bool = True


OPENAI = Wire()  # also for an engine that is not known by name: all speak OpenAI's API
WIRES: dict[str, Wire] = {
    "llama_cpp": Wire(),
    "vllm": Wire(),
    "openai": OPENAI,
    "tgi": Wire(),
}
