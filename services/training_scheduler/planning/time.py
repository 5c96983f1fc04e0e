"""How long an optimizer step takes, from what it computes: 2 operations for a weight and token forwards, as many again
for each gradient (Kaplan et al. 2020, section 2.1), and attention's own products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.training_scheduler.planning.architecture import Architecture
from services.training_scheduler.planning.memory import METHODS
from services.training_scheduler.planning.settings import SAMPLING, Job, Settings

CPU_THREAD_FLOPS: Final = 40e9  # float32, of one of two threads; docs/benchmarks/planner.json
CPU_BANDWIDTH: Final = 8e9  # bytes a second of weights while answers are sampled
CPU_STEP_SECONDS: Final = 0.25  # what a step takes however small the model: data, optimizer, logging
CARD_FLOPS: Final = 90e12  # bfloat16, where the card is not in the catalogue
CARD_BANDWIDTH: Final = 900e9
CARD_UTILISATION: Final = 0.35  # of the card's dense bfloat16; MFU of fine-tuning as published, 0.3 to 0.5
CARD_STEP_SECONDS: Final = 0.05
STARTUP_SECONDS: Final = 30.0

# Passes forwards of frozen weights, in those of the policy: reference or scorer.
FROZEN_PASSES: Final[Mapping[str, float]] = {"DPO": 1, "KTO": 2, "GRPO": 1, "PPO": 2}


@dataclass(frozen=True)
class Speed:
    """Operations and bytes that a place really does in a second, and seconds that a step takes in any case."""

    flops: float
    bandwidth: float
    step_seconds: float
    weight_bytes: int


def cpu_speed(threads: int) -> Speed:
    return Speed(threads * CPU_THREAD_FLOPS, CPU_BANDWIDTH, CPU_STEP_SECONDS, 4)


def card_speed(flops: float, bandwidth: float) -> Speed:
    """`flops` and `bandwidth` are the vendor's; 0 where they are not known."""
    return Speed((flops or CARD_FLOPS) * CARD_UTILISATION, bandwidth or CARD_BANDWIDTH, CARD_STEP_SECONDS, 2)


def steps_of(job: Job) -> int:
    """Optimizer steps: `max_steps`, or else the epochs' worth."""
    wanted = job.hyperparameters
    if wanted["max_steps"] > 0:
        return int(wanted["max_steps"])
    rows = job.rows * (2 if job.method == "KTO" else 1)  # each pair is a good and a bad example
    per_epoch = math.ceil(rows / (wanted["batch_size"] * wanted["gradient_accumulation_steps"]))
    return max(1, math.ceil(per_epoch * wanted["epochs"]))


def tokens_of_step(job: Job, settings: Settings) -> float:
    """What one optimizer step learns from, at the longest."""
    return settings.rows * METHODS[job.method].sequences * (job.length + job.answer)


def step_seconds(job: Job, settings: Settings, speed: Speed) -> float:
    """Of one process; ranks share the rows."""
    tokens = tokens_of_step(job, settings) / settings.ranks
    forward = forward_flops(job.architecture, job.length + job.answer)
    passes = (2.0 if job.rank else 3.0) + settings.checkpointing  # an adapter needs no gradients of frozen weights
    passes *= job.passes
    passes += FROZEN_PASSES.get(job.method, 0)
    seconds = speed.step_seconds + tokens * forward * passes / speed.flops
    if job.method in SAMPLING:
        seconds += _sampling_seconds(job, settings, forward, speed)
    return seconds


def forward_flops(shape: Architecture, length: int) -> float:
    """Of one token among `length`: each linear map and the head, and half the tokens before it in attention."""
    linear = shape.layers * shape.layer + shape.embeddings
    return 2 * linear + 2 * shape.layers * shape.query * length


def _sampling_seconds(job: Job, settings: Settings, forward: float, speed: Speed) -> float:
    """A token a pass: all rows at once, and all weights read for it."""
    rows = settings.rows / settings.ranks
    computed = rows * forward / speed.flops
    read = job.architecture.parameters * speed.weight_bytes / speed.bandwidth
    return job.answer * max(computed, read) + rows * job.length * forward / speed.flops
