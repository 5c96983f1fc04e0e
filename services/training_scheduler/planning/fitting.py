"""Finds settings that fit: as asked if that fits, else the first of a ladder of changes that does, each with its reason.

Every rung keeps the rows of an optimizer step, so that the run learns the same. Rungs are in the order of what they
cost: time first, then precision, then more cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from services.training_scheduler.planning import memory
from services.training_scheduler.planning.settings import Device, Job, Settings

SMALLEST_BATCH: Final = {"KTO": 2}  # it compares a row with others of its batch


@dataclass(frozen=True)
class Choice:
    """A setting that differs from what was asked; `reason` for programs, `message` for people."""

    setting: str
    value: str
    reason: str
    message: str


@dataclass(frozen=True)
class Fitting:
    settings: Settings
    need: memory.Need
    choices: list[Choice]


def fit(job: Job, device: Device, available: int) -> Fitting | None:
    """Settings of which `available` bytes are enough, by changes that trainers make today."""
    asked = job.asked(device)
    for settings in _ladder(job, asked):
        if (need := memory.need(job, settings, device)).bytes <= available:
            return Fitting(settings, need, _choices(asked, settings))
    return None


def smallest(job: Job, device: Device) -> memory.Need:
    """What the last rung still needs."""
    *_, last = _ladder(job, job.asked(device))
    return memory.need(job, last, device)


def would_help(job: Job, available: int, cards: int) -> Choice | None:
    """What would make the run fit on a card if trainers had it: they train in one process, with weights as they are."""
    *_, last = _ladder(job, job.asked("card"))
    for settings in _beyond(job, last, cards):
        if memory.need(job, settings, "card").bytes <= available:
            return _beyond_choice(settings)
    return None


def _ladder(job: Job, asked: Settings) -> Iterator[Settings]:
    """As asked; activations computed again; then ever smaller batches with more of them in a step."""
    yield asked
    slower = replace(asked, checkpointing=True)
    if not asked.checkpointing:
        yield slower
    while (smaller := _halved(job, slower)) is not None:
        slower = smaller
        yield slower


def _halved(job: Job, settings: Settings) -> Settings | None:
    """Half the batch, twice the accumulation. PPO samples a whole step's rows, and GRPO whole groups, at once."""
    least = int(job.hyperparameters.get("num_generations", 4)) if job.method == "GRPO" else 1
    half, odd = divmod(settings.batch, 2)
    if odd or half < SMALLEST_BATCH.get(job.method, least) or (job.method == "GRPO" and half % least):
        return None
    return replace(settings, batch=half, accumulation=2 * settings.accumulation)


def _beyond(job: Job, settings: Settings, cards: int) -> Iterator[Settings]:
    if job.rank:
        yield replace(settings, quantised=True)
    else:
        yield replace(settings, offload=True)
    for stage in (1, 2, 3) if cards > 1 else ():
        yield replace(settings, zero_stage=stage, ranks=cards)
    if cards > 1:
        yield replace(settings, zero_stage=3, ranks=cards, offload=True)


def _choices(asked: Settings, chosen: Settings) -> list[Choice]:
    found = []
    if chosen.checkpointing and not asked.checkpointing:
        found.append(
            Choice(
                "activation_checkpointing",
                "true",
                "ACTIVATIONS_TOO_LARGE",
                "Activations are forgotten and computed again: about a third slower, but they fit.",
            )
        )
    if chosen.batch != asked.batch:
        message = (
            f"Batches of {chosen.batch} rather than {asked.batch}, as many rows in a step: the run learns the same."
        )
        found.append(Choice("batch_size", str(chosen.batch), "BATCH_TOO_LARGE", message))
        found.append(
            Choice("gradient_accumulation_steps", str(chosen.accumulation), "SAME_ROWS_A_STEP", message),
        )
    return found


def _beyond_choice(settings: Settings) -> Choice:
    if settings.quantised:
        return Choice("quantised", "nf4", "QUANTISED_BASE", "It would fit with the frozen base in 4 bits (QLoRA).")
    if settings.zero_stage:
        value = f"{settings.zero_stage}x{settings.ranks}" + ("+offload" if settings.offload else "")
        message = f"It would fit split over {settings.ranks} cards (ZeRO stage {settings.zero_stage}"
        message += ", optimizer in the host's memory)." if settings.offload else ")."
        return Choice("zero", value, "ZERO", message)
    return Choice("offload", "optimizer", "OFFLOAD", "It would fit with the optimizer's states in the host's memory.")
