"""What others measured on cards, as they published it. GB (10^9 bytes) a card: with
that, and not with GiB, what Qwen measured beyond its weights is the same for 7B and 14B; LoRA on every linear map unless said otherwise.

Qwen: github.com/QwenLM/Qwen, README.md, "Profiling of Memory and Speed": one A100 80 GB, PyTorch 2.0, Flash-Attention 2,
batch 1, activation checkpointing, LoRA of rank 64 with dropout 0.05 (finetune.py), Q-LoRA on the Int4 chat models. The
LoRA rows of 72B are of four cards with ZeRO-3, all four together.
LitGPT: github.com/Lightning-AI/litgpt, tutorials/resource-tables.md (20 October 2023): one A100 40 GB, bf16-true, LoRA of
rank 8 on query and value, no checkpointing, Alpaca's longest row (1304 tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.training_scheduler.planning.architecture import Architecture
from services.training_scheduler.planning.settings import Job, Settings
from services.training_scheduler.recipes import LORA

GB: Final = 1e9
LENGTHS: Final = (256, 512, 1024, 2048, 4096, 8192)
SHAPES: Final = {
    "Qwen-1.8B": Architecture(2048, 5504, 24, 16, 16, 151936, False, 128),
    "Qwen-7B": Architecture(4096, 11008, 32, 32, 32, 151936, False, 128),
    "Qwen-14B": Architecture(5120, 13696, 40, 40, 40, 152064, False, 128),
    "Qwen-72B": Architecture(8192, 24576, 80, 64, 64, 152064, False, 128),
    "Llama-2-7B": Architecture(4096, 11008, 32, 32, 32, 32000, False, 128),
    "Llama-2-13B": Architecture(5120, 13824, 40, 40, 40, 32000, False, 128),
}
QWEN: Final = {
    ("Qwen-1.8B", "LoRA"): (6.7, 7.4, 8.4, 11.0, 16.2, 21.8),
    ("Qwen-1.8B", "Q-LoRA"): (5.8, 6.0, 6.6, 7.8, 10.2, 15.8),
    ("Qwen-7B", "LoRA"): (20.1, 20.4, 21.5, 23.8, 29.7, 36.6),
    ("Qwen-7B", "Q-LoRA"): (11.5, 11.5, 12.3, 13.9, 16.9, 23.5),
    ("Qwen-14B", "LoRA"): (34.6, 35.1, 35.3, 37.4, 42.5, 55.2),
    ("Qwen-14B", "Q-LoRA"): (18.7, 18.4, 18.9, 19.9, 23.0, 27.9),
    ("Qwen-72B", "LoRA, ZeRO-3, 4 cards"): (215.4, 217.7, 222.6, 228.8, 249.0, 289.2),
    ("Qwen-72B", "Q-LoRA"): (61.4, 61.4, 62.9, 64.1, 68.0, 75.6),
}
LITGPT: Final = (
    ("Llama-2-7B", "LoRA", 1, 21.30),
    ("Llama-2-7B", "Q-LoRA", 1, 14.14),
    ("Llama-2-7B", "LoRA", 2, 29.07),
    ("Llama-2-13B", "LoRA", 1, 38.12),
    ("Llama-2-13B", "Q-LoRA", 1, 23.14),
)


@dataclass(frozen=True)
class Row:
    source: str
    model: str
    method: str
    job: Job
    settings: Settings
    published: float  # GB a card
    held_out: bool


def rows() -> list[Row]:
    """Each third is held out from the choice of constants."""
    found = []
    for (model, method), figures in QWEN.items():
        ranks = 4 if "ZeRO" in method else 1
        settings = Settings(1, 8, True, quantised=method == "Q-LoRA", zero_stage=3 if ranks > 1 else 0, ranks=ranks)
        for length, figure in zip(LENGTHS, figures, strict=True):
            job = _job(model, length, rank=64, dropout=0.05)
            found.append(("Qwen", model, method, job, settings, figure / ranks))
    for model, method, batch, figure in LITGPT:
        settings = Settings(batch, 128 // batch, False, quantised=method == "Q-LoRA")
        found.append(("LitGPT", model, method, _job(model, 1304, rank=2), settings, figure))  # 8 on two of seven maps
    return [Row(*row, held_out=at % 3 == 2) for at, row in enumerate(found)]


def _job(model: str, length: int, *, rank: int, dropout: float = 0.0) -> Job:
    wanted = {**LORA, "max_length": length, "lora_rank": rank, "lora_dropout": dropout, "batch_size": 1}
    return Job("SFT", SHAPES[model], 1000, wanted)
