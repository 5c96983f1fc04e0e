"""A plan as the API shows it, and as a run keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gyre.training_scheduler.v1 import run_pb2

from services.training_scheduler.planning.fitting import Choice
from services.training_scheduler.planning.plan import Misfit, Outlook, Plan


def to_json(plan: Plan) -> dict[str, Any]:
    """What a run keeps: the plan that it was made by, without the other flavors."""
    simple = ("memory_bytes", "seconds", "cost_microusd", "flavor", "steps", "tokens_per_second", "peak_flops")
    return {
        **{name: getattr(plan, name) for name in simple},
        "parts": [{"term": term, "bytes": size} for term, size in _largest_first(plan.parts)],
        "choices": [asdict(choice) for choice in plan.choices],
    }


def to_proto(plan: Plan, outlook: Outlook) -> run_pb2.Estimate:
    return run_pb2.Estimate(
        memory_bytes=plan.memory_bytes,
        seconds=plan.seconds,
        cost_microusd=plan.cost_microusd,
        flavor=plan.flavor,
        steps=plan.steps,
        tokens_per_second=plan.tokens_per_second,
        parts=_parts(plan.parts),
        choices=[_choice(choice) for choice in plan.choices],
        flavors=[
            *(_fitting(it, outlook) for it in sorted(outlook.plans, key=lambda it: it.seconds)),
            *(_misfit(it) for it in outlook.misfits),
        ],
    )


def _fitting(plan: Plan, outlook: Outlook) -> run_pb2.FlavorEstimate:
    return run_pb2.FlavorEstimate(
        flavor=plan.flavor,
        fits=True,
        memory_bytes=plan.memory_bytes,
        available_bytes=plan.available_bytes,
        seconds=plan.seconds,
        cost_microusd=plan.cost_microusd,
        tokens_per_second=plan.tokens_per_second,
        parts=_parts(plan.parts),
        choices=[_choice(choice) for choice in plan.choices],
        fastest=plan is outlook.fastest,
        cheapest=plan is outlook.cheapest,
        gpu=plan.gpu,
    )


def _misfit(misfit: Misfit) -> run_pb2.FlavorEstimate:
    lacks_memory = misfit.reason == "NOT_ENOUGH_MEMORY"
    return run_pb2.FlavorEstimate(
        flavor=misfit.flavor,
        memory_bytes=misfit.needed if lacks_memory else 0,
        available_bytes=misfit.available if lacks_memory else 0,
        reason=misfit.reason,
        remedy=_choice(misfit.help) if misfit.help else None,
    )


def _parts(parts: Mapping[str, int]) -> list[run_pb2.MemoryPart]:
    return [run_pb2.MemoryPart(term=term, bytes=size) for term, size in _largest_first(parts)]


def _largest_first(parts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(parts.items(), key=lambda part: -part[1])


def _choice(choice: Choice) -> run_pb2.SettingChoice:
    return run_pb2.SettingChoice(**asdict(choice))
