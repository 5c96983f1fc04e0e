"""What one process holds at its peak, term by term, so that a plan can say what is large.

Resident bytes on a CPU (float32), allocated bytes on a card (bfloat16). Activations are what Transformers' Llama keeps
for its backward pass, counted tensor by tensor; docs/explanation/planning.md derives them and says how far the sums are
from what was measured. A process passes several moments, each of which can be its peak; `need` returns the largest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.training_scheduler.planning.architecture import Architecture
from services.training_scheduler.planning.settings import SAMPLING, Device, Job, Settings

MIB: Final = 2**20
Parts = dict[str, int]


@dataclass(frozen=True)
class Method:
    """How a method differs. `sequences`: rows that go through the model for one row of the batch. `logits`: numbers
    alive for each token and word of the vocabulary as the backward pass begins. `trainer`: MiB that its classes and data
    take beside the libraries. `reference`: a frozen copy of the policy beside it where all weights learn (an adapter is
    switched off instead). `trees`: nothing is padded, so that attention needs no mask."""

    sequences: float
    logits: float
    trainer: int
    reference: bool = False
    trees: bool = False


METHODS: Final[Mapping[str, Method]] = {
    "SFT": Method(1, 3, 110, trees=True),
    "CPT": Method(1, 3, 110, trees=True),
    "DPO": Method(2, 3, 50, reference=True, trees=True),
    "REWARD": Method(2, 0, 50),
    "KTO": Method(1, 5, 40, reference=True),
    "ORPO": Method(2, 4, 210),
    "GRPO": Method(1, 4, 60),
    "PPO": Method(1, 4, 60, reference=True),
}


@dataclass(frozen=True)
class Costs:
    """Bytes of a number by what it is for, and what a process needs before it does anything."""

    weight: float
    activation: int
    logit: float
    process: int
    norm: int  # a norm computes in float32, and keeps its input so
    working: int  # layers' worth that one layer takes while it is computed again
    adapter_spare: float  # what the adapters' own results leave between those that are kept, as a share of these
    spare: float  # freed pieces that fit nothing, as a share of what comes and goes
    reserve: float  # of all of it, against what is not counted here


CPU: Final = Costs(
    weight=4, activation=4, logit=4, process=550 * MIB, norm=4, working=3, adapter_spare=0.6, spare=0.08, reserve=0.06
)
CARD: Final = Costs(
    weight=2, activation=2, logit=4, process=1500 * MIB, norm=4, working=1, adapter_spare=0.0, spare=0.06, reserve=0.03
)
COSTS: Final[Mapping[Device, Costs]] = {"cpu": CPU, "card": CARD}
NF4_BYTES: Final = 0.5 + 4 / 64  # four bits, and a float32 constant for each block of 64 (QLoRA, section 3)
FLOAT32: Final = 4
MOMENTS: Final = 2  # of Adam
LIVE_PARAMETERS: Final = 5e9  # gathered by ZeRO-3, with its buckets: of the published rows, not of its settings
QUANTISED_LOGITS: Final = 0.67  # float16 throughout, of the published rows
QUANTISED_SPARE: Final = 2 * 2**30  # weights unpacked for a moment, and buffers; likewise
TREE_TOKENS: Final[Mapping[Device, int]] = {"cpu": 512, "card": 2048}  # gyre_trainers/tree.py


@dataclass(frozen=True)
class Learns:
    """Bytes for each parameter that learns."""

    weight: int
    gradient: int
    optimizer: int


MIXED: Final = Learns(2, 4, 12)  # DeepSpeed: bfloat16 weights, float32 gradients, copy and moments


@dataclass(frozen=True)
class Need:
    """The peak of the process, or of its card, and what it consists of; `host_bytes` is what lies off the card."""

    parts: Parts
    host_bytes: int

    @property
    def bytes(self) -> int:
        return sum(self.parts.values())


def need(job: Job, settings: Settings, device: Device) -> Need:
    """The largest moment of `job` with `settings`."""
    costs = COSTS[device]
    states = _states(job, settings, device)
    moments = [
        _loading(states, device),
        _backward_begins(job, settings, device, states),
        _backward_ends(job, settings, device, states),
        _saving(job, device, states),
    ]
    if job.method in SAMPLING:
        moments.append(_sampling(job, settings, costs, states))
    largest = max(moments, key=lambda parts: sum(parts.values()))
    parts = {name: size for name, size in largest.items() if size}
    process = costs.process + METHODS[job.method].trainer * MIB
    parts |= {"PROCESS": process, "RESERVE": round((sum(parts.values()) + process) * costs.reserve)}
    return Need(parts, _off_the_card(job, settings, device))


def _states(job: Job, settings: Settings, device: Device) -> Parts:
    """What stays: weights, optimizer, gradients, other models; each split over the ranks as ZeRO's stage says."""
    costs, shape = COSTS[device], job.architecture
    split = [settings.ranks if settings.zero_stage >= stage else 1 for stage in (1, 2, 3)]
    learns = MIXED if settings.zero_stage else _pure(job, device)
    base = _base_bytes(shape, costs.weight, quantised=settings.quantised and bool(job.rank))
    adapter = job.trained * learns.weight if job.rank else 0
    return {
        "WEIGHTS": round((base + adapter) / split[2]),
        "OPTIMIZER": 0 if settings.offload else round(job.trained * learns.optimizer / split[0]),
        "GRADIENTS": round(job.trained * learns.gradient / split[1]),
        "OTHER_MODELS": _other_models(job, costs.weight),
        "LIVE_WEIGHTS": _live_weights(shape, settings, costs),
    }


def _live_weights(shape: Architecture, settings: Settings, costs: Costs) -> int:
    """What is whole for a moment: layers that ZeRO-3 gathers, linear maps of a 4-bit base."""
    gathered = min(LIVE_PARAMETERS, shape.parameters) * costs.weight if settings.zero_stage == 3 else 0
    return round(gathered) + (QUANTISED_SPARE if settings.quantised else 0)


def _pure(job: Job, device: Device) -> Learns:
    """Adapters are float32 everywhere (PEFT's autocast_adapter_dtype); all weights are as they were loaded."""
    number = FLOAT32 if job.rank else int(COSTS[device].weight)
    return Learns(number, number, MOMENTS * number)


def _base_bytes(shape: Architecture, weight: float, *, quantised: bool) -> float:
    """Quantised are the linear maps of the layers; embeddings, head and norms stay as they were."""
    if not quantised:
        return shape.parameters * weight
    linear = shape.layers * shape.layer
    return linear * NF4_BYTES + (shape.parameters - linear) * weight


def _other_models(job: Job, weight: float) -> int:
    """Reference, reward model, and PPO's value model, of which all weights learn."""
    copies = job.architecture.parameters * weight if METHODS[job.method].reference and not job.rank else 0
    scorer = (job.scorer or job.architecture).parameters * weight
    if job.method == "GRPO" and job.scorer:  # graders need none
        copies += scorer
    if job.method == "PPO":
        copies += scorer * (2 + 1 + MOMENTS)
    return round(copies)


def _loading(states: Parts, device: Device) -> Parts:
    """On a CPU the file's pages (bfloat16) lie beside the float32 weights that are made of them."""
    mapped = states["WEIGHTS"] // 2 if device == "cpu" else 0
    return {"WEIGHTS": states["WEIGHTS"], "OTHER_MODELS": states["OTHER_MODELS"], "FILE": mapped}


def _backward_begins(job: Job, settings: Settings, device: Device, states: Parts) -> Parts:
    """All activations are there. Gradients are too: those of the step's earlier passes, and on a CPU those that come, for
    what activations leave is not given back to the system (glibc keeps freed pieces below 32 MiB)."""
    moving = {
        "ACTIVATIONS": activations(job, settings, device),
        "LOGITS": _logits(job, settings, device),
    }
    gradients = states["GRADIENTS"] if settings.accumulation > 1 or device == "cpu" else 0
    return states | {"GRADIENTS": gradients} | _with_spare(moving, COSTS[device])


def _backward_ends(job: Job, settings: Settings, device: Device, states: Parts) -> Parts:
    """All gradients are there, and one layer's activations."""
    layer = _layer_bytes(job, device) * tokens(job, settings)
    return states | _with_spare({"ACTIVATIONS": round(layer)}, COSTS[device])


def _saving(job: Job, device: Device, states: Parts) -> Parts:
    """A checkpoint's weights are written from a copy of them in memory."""
    copied = job.trained * FLOAT32 if device == "cpu" else 0
    return states | {"GRADIENTS": 0, "FILE": copied}


def _sampling(job: Job, settings: Settings, costs: Costs, states: Parts) -> Parts:
    """Keys and values of every row's tokens; the scores of each new token are kept until the answers are whole."""
    shape, rows = job.architecture, settings.rows
    length = job.length + job.answer
    cache = 2 * shape.layers * shape.key * length * rows * costs.activation
    scores = rows * job.answer * shape.vocabulary * costs.logit
    return states | {"GRADIENTS": 0} | _with_spare({"KV_CACHE": cache, "LOGITS": round(scores)}, costs)


def tokens(job: Job, settings: Settings) -> float:
    """Of one pass through the model, at the longest."""
    return settings.batch * METHODS[job.method].sequences * (job.length + job.answer)


def activations(job: Job, settings: Settings, device: Device) -> int:
    """Of all layers; with checkpointing the input of each, and what one layer computed again and its gradients take."""
    shape, layer = job.architecture, _layer_bytes(job, device)
    if settings.checkpointing:
        each = shape.layers * shape.hidden * COSTS[device].activation + COSTS[device].working * layer
    else:
        each = shape.layers * layer
    return round(tokens(job, settings) * each)


def _layer_bytes(job: Job, device: Device) -> float:
    """What one layer keeps for one token.

    Two norms: input and output, and what is scaled where the scale learns. Attention: query, key and value, each as wide
    as the heads, and its output; under a mask, copies of them in the kernel's order. The MLP: gate, its activation, up, their product. An adapter on a card keeps its own
    copy of what goes into it; with dropout, everywhere, and the mask.
    """
    costs, shape = COSTS[device], job.architecture
    wide, query, hidden = shape.intermediate, shape.query, shape.hidden
    norms = 2 * hidden * (costs.norm + costs.activation * (1 if job.rank else 2))
    masked = not METHODS[job.method].trees
    maps = ((8 if masked else 4) * query + 4 * wide) * costs.activation
    if not job.rank:
        return norms + maps
    inputs = 5 * hidden + query + wide
    drops = job.hyperparameters.get("lora_dropout", 0) > 0
    copies = inputs * costs.activation * (device == "card" or drops) + inputs * drops
    return (norms + maps) * (1 + costs.adapter_spare) + copies


def _logits(job: Job, settings: Settings, device: Device) -> int:
    """SFT and DPO go through the head tree by tree (gyre_trainers/tree.py): of all but the last one number is left."""
    shape, method = job.architecture, METHODS[job.method]
    alive = method.logits
    if method.trees:
        sequences = settings.batch * method.sequences
        alive = 1 + (alive - 1) / math.ceil(sequences / max(1, TREE_TOKENS[device] // job.length))
    if settings.quantised:
        alive *= QUANTISED_LOGITS
    return round(tokens(job, settings) * shape.vocabulary * alive * COSTS[device].logit)


def _with_spare(moving: Parts, costs: Costs) -> Parts:
    return moving | {"FRAGMENTATION": round(sum(moving.values()) * costs.spare)}


def _off_the_card(job: Job, settings: Settings, device: Device) -> int:
    """What a process with a card holds in the host's memory: libraries, and the optimizer where it was moved there."""
    if device == "cpu":
        return 0
    learns = MIXED if settings.zero_stage else _pure(job, device)
    offloaded = job.trained * learns.optimizer if settings.offload else 0
    return 4 * 2**30 + offloaded
