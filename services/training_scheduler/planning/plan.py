"""What a run will need, take and cost on each flavor; the fastest and the cheapest of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.training_scheduler.planning import fitting, time
from services.training_scheduler.planning.fitting import Choice, Fitting
from services.training_scheduler.planning.settings import Job


@dataclass(frozen=True)
class Place:
    """What one node can give. `cards` are their memories in bytes; prices in millionths of a dollar an hour; speeds of
    one card as its vendor says, in operations and bytes a second, 0 where they are not known."""

    flavor: str
    cpu_milli: int
    memory_bytes: int
    cards: Sequence[int] = ()
    cpu_hour_microusd: int = 0
    gpu_hour_microusd: int = 0
    card_flops: float = 0
    card_bandwidth: float = 0


@dataclass(frozen=True)
class Plan:
    """A place and what the run will ask for and take there. `memory_bytes` is of the card, if `gpu` is over 0.

    `peak_flops` is what those cards could do in a second as the vendor says, 0 where it is not known or there are none.
    `parts` is what it consists of, by name; `choices` are what differs from the settings that were asked for.
    """

    flavor: str
    memory_bytes: int
    available_bytes: int
    seconds: float
    cost_microusd: int
    steps: int
    cpu_milli: int
    host_memory_bytes: int
    gpu: int
    tokens_per_second: float
    parts: Mapping[str, int]
    choices: Sequence[Choice] = ()
    peak_flops: float = 0


@dataclass(frozen=True)
class Misfit:
    """Why a place cannot take the job: NOT_ENOUGH_MEMORY, NOT_ENOUGH_CPU. `help` is what trainers would need for it."""

    flavor: str
    reason: str
    needed: int
    available: int
    help: Choice | None = None


@dataclass(frozen=True)
class Outlook:
    """A plan or a misfit for each flavor, in the order of the places."""

    plans: Sequence[Plan] = field(default_factory=list)
    misfits: Sequence[Misfit] = field(default_factory=list)

    @property
    def fastest(self) -> Plan | None:
        """The cheaper of two equals."""
        return min(self.plans, key=lambda it: (it.seconds, it.cost_microusd, it.flavor), default=None)

    @property
    def cheapest(self) -> Plan | None:
        """The faster of two equals."""
        return min(self.plans, key=lambda it: (it.cost_microusd, it.seconds, it.flavor), default=None)


def plan(job: Job, places: Iterable[Place], cpu_milli: int) -> Outlook:
    """One answer for each flavor: that of its node on which the run is fastest, or lacks least."""
    plans: dict[str, Plan] = {}
    misfits: dict[str, Misfit] = {}
    for place in places:
        found = _on_card(job, place, cpu_milli) if place.cards else _on_cpu(job, place, cpu_milli)
        if isinstance(found, Plan):
            best = plans.setdefault(place.flavor, found)
            plans[place.flavor] = min(best, found, key=lambda it: it.seconds)
        else:
            least = misfits.setdefault(place.flavor, found)
            misfits[place.flavor] = max(least, found, key=lambda it: it.available)
    return Outlook(list(plans.values()), [it for flavor, it in misfits.items() if flavor not in plans])


def threads_of(cpu_milli: int) -> int:
    """Threads for a share of the cores: rounded up, for a trainer on 1.5 cores gains from the second."""
    return max(1, math.ceil(cpu_milli / 1000))


def _on_cpu(job: Job, place: Place, cpu_milli: int) -> Plan | Misfit:
    asked = min(cpu_milli, place.cpu_milli)
    if asked < 100:
        return Misfit(place.flavor, "NOT_ENOUGH_CPU", cpu_milli, place.cpu_milli)
    found = fitting.fit(job, "cpu", place.memory_bytes)
    if found is None:
        needed = fitting.smallest(job, "cpu").bytes
        return Misfit(place.flavor, "NOT_ENOUGH_MEMORY", needed, place.memory_bytes)
    speed = time.cpu_speed(threads_of(asked))
    return _plan(job, place, found, speed, place.memory_bytes, asked, found.need.bytes, gpu=0)


def _on_card(job: Job, place: Place, cpu_milli: int) -> Plan | Misfit:
    largest = max(place.cards)
    found = fitting.fit(job, "card", largest)
    if found is None:
        needed = fitting.smallest(job, "card").bytes
        return Misfit(
            place.flavor, "NOT_ENOUGH_MEMORY", needed, largest, fitting.would_help(job, largest, len(place.cards))
        )
    host = min(found.need.host_bytes + 2 * job.architecture.parameters, place.memory_bytes)
    speed = time.card_speed(place.card_flops, place.card_bandwidth)
    return _plan(job, place, found, speed, largest, min(cpu_milli, place.cpu_milli), host, gpu=1)


def _plan(
    job: Job, place: Place, found: Fitting, speed: time.Speed, available: int, cpu_milli: int, host: int, *, gpu: int
) -> Plan:
    each = time.step_seconds(job, found.settings, speed)
    steps = time.steps_of(job)
    seconds = time.STARTUP_SECONDS + steps * each
    hourly = place.cpu_hour_microusd * cpu_milli / 1000 + place.gpu_hour_microusd * gpu
    return Plan(
        flavor=place.flavor,
        memory_bytes=found.need.bytes,
        available_bytes=available,
        seconds=seconds,
        cost_microusd=round(seconds / 3600 * hourly),
        steps=steps,
        cpu_milli=cpu_milli,
        host_memory_bytes=host,
        gpu=gpu,
        tokens_per_second=time.tokens_of_step(job, found.settings) / each,
        parts=found.need.parts,
        choices=found.choices,
        peak_flops=place.card_flops * gpu,
    )
