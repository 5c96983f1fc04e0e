"""What a run will need and take, on each kind of node: pure functions of the job and a snapshot of the nodes.

The figures are measured ones: SmolLM2-135M in float32 on two threads, LoRA of rank 8, batch 4, 128 tokens a row, with
TRL 1.12 — 2.3 s and 1.75 GB for SFT, 3.3 s and 2.3 GB for DPO, 5 s for a reward model, 27 s for GRPO, 68 s (batch 8)
and 5.7 GB for PPO. Other sizes are scaled from there; an estimate within a factor of two is what this is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MEASURED_PARAMETERS = 135e6
CPU_TOKENS_PER_SECOND = 222.0  # of two threads, at the measured size
CPU_PROCESS_BYTES = 600 * 2**20  # interpreter, torch, transformers, tokenizer
CPU_BYTES_PER_TOKEN = 1.2 * 2**20  # activations and logits in one pass, at the measured size
GPU_FLOPS = 30e12  # bf16, a third of a small data-centre card's peak
GPU_PROCESS_BYTES = 1200 * 2**20  # CUDA context and kernels
FLOPS_PER_PARAMETER_AND_TOKEN = 6
STARTUP_SECONDS = 30.0
FILL = 0.75  # rows are shorter than max_length
HOST_BYTES_BESIDE_GPU = 4 * 2**30


@dataclass(frozen=True)
class Cost:
    """How a method differs from SFT: time of a step, sequences held at once, models in memory."""

    time: float
    sequences: float
    models: int


COSTS: Mapping[str, Cost] = {
    "SFT": Cost(1.0, 1.0, 1),
    "DPO": Cost(1.45, 2.0, 1),
    "ORPO": Cost(1.45, 2.0, 1),
    "KTO": Cost(1.6, 2.0, 1),
    "REWARD": Cost(2.1, 1.5, 1),
    "GRPO": Cost(12.0, 2.0, 2),
    "PPO": Cost(15.0, 2.5, 3),
}


@dataclass(frozen=True)
class Job:
    """`parameters` of the base; `rows` to train on; hyperparameters with every default filled in."""

    method: str
    parameters: int
    rows: int
    hyperparameters: Mapping[str, float]


@dataclass(frozen=True)
class Place:
    """What one node can give; `cards` are their memories in bytes, prices in millionths of a dollar an hour."""

    flavor: str
    cpu_milli: int
    memory_bytes: int
    cards: Sequence[int] = ()
    cpu_hour_microusd: int = 0
    gpu_hour_microusd: int = 0


@dataclass(frozen=True)
class Plan:
    """A place and what the run will ask for and take there. `memory_bytes` is of the card, if `gpu` is over 0."""

    flavor: str
    memory_bytes: int
    seconds: float
    cost_microusd: int
    steps: int
    cpu_milli: int
    host_memory_bytes: int
    gpu: int


@dataclass(frozen=True)
class Misfit:
    """Why a place cannot take the job: NOT_ENOUGH_MEMORY, NOT_ENOUGH_CPU."""

    flavor: str
    reason: str
    needed: int
    available: int


def plan(job: Job, places: Iterable[Place], cpu_milli: int) -> tuple[Plan | None, list[Misfit]]:
    """The fastest plan, the cheaper of two equals, and why the other places will not do."""
    plans: list[Plan] = []
    misfits: list[Misfit] = []
    for place in places:
        found = _on_card(job, place, cpu_milli) if place.cards else _on_cpu(job, place, cpu_milli)
        if isinstance(found, Plan):
            plans.append(found)
        else:
            misfits.append(found)
    return min(plans, key=lambda it: (it.seconds, it.cost_microusd, it.flavor), default=None), misfits


def steps_of(job: Job) -> int:
    """Optimizer steps: `max_steps`, or else the epochs' worth."""
    wanted = job.hyperparameters
    if wanted["max_steps"] > 0:
        return int(wanted["max_steps"])
    rows = job.rows * (2 if job.method == "KTO" else 1)  # each pair is a good and a bad example
    per_epoch = math.ceil(rows / (wanted["batch_size"] * wanted["gradient_accumulation_steps"]))
    return max(1, math.ceil(per_epoch * wanted["epochs"]))


def _on_cpu(job: Job, place: Place, cpu_milli: int) -> Plan | Misfit:
    asked = min(cpu_milli, place.cpu_milli)
    if asked < 100:
        return Misfit(place.flavor, "NOT_ENOUGH_CPU", cpu_milli, place.cpu_milli)
    memory = _memory(job, bytes_per_weight=4, process=CPU_PROCESS_BYTES)
    if memory > place.memory_bytes:
        return Misfit(place.flavor, "NOT_ENOUGH_MEMORY", memory, place.memory_bytes)
    threads = threads_of(asked)
    speed = CPU_TOKENS_PER_SECOND * threads / 2 * MEASURED_PARAMETERS / max(job.parameters, 1e6)
    seconds = STARTUP_SECONDS + steps_of(job) * _tokens(job) * COSTS[job.method].time / speed
    return _plan(job, place, memory, seconds, asked, memory, gpu=0)


def _on_card(job: Job, place: Place, cpu_milli: int) -> Plan | Misfit:
    memory = _memory(job, bytes_per_weight=2, process=GPU_PROCESS_BYTES)
    largest = max(place.cards)
    if memory > largest:
        return Misfit(place.flavor, "NOT_ENOUGH_MEMORY", memory, largest)
    speed = GPU_FLOPS / (FLOPS_PER_PARAMETER_AND_TOKEN * max(job.parameters, 1e6))
    step = max(0.05, _tokens(job) / speed) * COSTS[job.method].time
    seconds = STARTUP_SECONDS + steps_of(job) * step
    host = min(HOST_BYTES_BESIDE_GPU + 2 * job.parameters, place.memory_bytes)
    return _plan(job, place, memory, seconds, min(cpu_milli, place.cpu_milli), host, gpu=1)


def threads_of(cpu_milli: int) -> int:
    """Threads for a share of the cores: rounded up, for a trainer on 1.5 cores gains from the second."""
    return max(1, math.ceil(cpu_milli / 1000))


def _plan(job: Job, place: Place, memory: int, seconds: float, cpu_milli: int, host: int, gpu: int) -> Plan:
    hourly = place.cpu_hour_microusd * cpu_milli / 1000 + place.gpu_hour_microusd * gpu
    cost = round(seconds / 3600 * hourly)
    return Plan(place.flavor, memory, seconds, cost, steps_of(job), cpu_milli, host, gpu)


def _memory(job: Job, bytes_per_weight: int, process: int) -> int:
    """Weights of every model, optimizer states where all weights train (two more in float32), and one pass."""
    wanted, cost = job.hyperparameters, COSTS[job.method]
    weights = job.parameters * bytes_per_weight * cost.models
    if wanted["lora_rank"] == 0:
        weights += job.parameters * (bytes_per_weight + 8) + job.parameters * bytes_per_weight * (job.method == "DPO")
    scale: float = (job.parameters / MEASURED_PARAMETERS) ** (2 / 3)
    per_token = CPU_BYTES_PER_TOKEN * bytes_per_weight / 4 * scale
    tokens = wanted["batch_size"] * wanted["max_length"] * FILL * cost.sequences
    return int(process + weights + tokens * per_token)


def _tokens(job: Job) -> float:
    """Tokens of one optimizer step."""
    wanted = job.hyperparameters
    return wanted["batch_size"] * wanted["gradient_accumulation_steps"] * wanted["max_length"] * FILL
