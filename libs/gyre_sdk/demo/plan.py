"""What the demo is going to do, in numbers: the shipped data or your own, whole or fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gyre.evaluation.v1.suite_pb2 import Scorer
from gyre.evaluation.v1.verdict_pb2 import GateRule

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "hotline"
NEW_SLICE = "animals"


@dataclass(frozen=True)
class Plan:
    """Rows, hyperparameters and rules of both laps. Counts of 0 mean: all there are."""

    seed: int
    base: str
    data: Path
    new_data: Path | None
    reported_data: Path | None  # measured as well, never taught and never gated
    slug: str
    language: str
    licence: str
    origin: str
    scorer: Scorer
    rules: tuple[GateRule, ...]
    test_fraction: float
    new_test_fraction: float
    train_rows: int
    held_out_rows: int
    reported_rows: int
    corrections: int
    replay: int
    max_tokens: int
    lap1: Mapping[str, Any]
    lap2: Mapping[str, Any]
    dpo: Mapping[str, Any]
    quantisations: tuple[str, ...] = ("Q8_0", "Q4_K_M")
    traffic_steps: tuple[int, ...] = (25, 100)
    step_seconds: int = 3
    fast: bool = False
    shuffle_labels: bool = False
    new_slice: str = field(default="")


COMMON = {
    "batch_size": 4,
    "lora_rank": 8,
    "lora_alpha": 16,
    "max_length": 96,
    "assistant_only_loss": True,
    "warmup_ratio": 0.03,
}


def make(*, data: Path | None, base: str, seed: int, fast: bool, shuffle_labels: bool) -> Plan:
    plan = own(data, base, seed) if data else hotline(base, seed)
    plan = replace(plan, fast=fast, shuffle_labels=shuffle_labels)
    return quick(plan) if fast else plan


def hotline(base: str, seed: int) -> Plan:
    """The shipped job: a message to a city hotline becomes JSON; a ninth department turns up after the first lap."""
    return Plan(
        seed=seed,
        base=base,
        data=EXAMPLES / "hotline.en.jsonl",
        new_data=EXAMPLES / "new_department.en.jsonl",
        reported_data=EXAMPLES / "hotline.zh.jsonl",
        slug="hotline",
        language="en",
        licence="CC0-1.0",
        origin="written for Gyre",
        scorer=Scorer(kind=Scorer.KIND_JSON_FIELDS, exact_fields=["department", "urgency"], text_field="reply"),
        rules=(
            GateRule(slice=NEW_SLICE, metric="exact", min_lower_bound=0.0),
            GateRule(slice=f"!{NEW_SLICE}", metric="exact", min_lower_bound=-0.05),
        ),
        new_slice=NEW_SLICE,
        test_fraction=0.46,
        new_test_fraction=0.58,
        train_rows=0,
        held_out_rows=0,
        reported_rows=40,
        corrections=54,
        replay=0,
        max_tokens=40,
        lap1={**COMMON, "epochs": 1.5, "learning_rate": 1e-3, "checkpoint_every": 50},
        lap2={**COMMON, "epochs": 2.0, "learning_rate": 1e-3, "checkpoint_every": 50},
        dpo={**COMMON, "epochs": 1.0, "learning_rate": 2e-5, "beta": 0.1, "checkpoint_every": 50},
    )


def own(data: Path, base: str, seed: int) -> Plan:
    """Your rows: part of them is kept back from the first lap, and plays what people correct before the second."""
    plan = hotline(base, seed)
    longer = {"max_length": 256}
    return replace(
        plan,
        data=data,
        new_data=None,
        reported_data=None,
        new_slice="",
        slug="own",
        language="",
        licence="as you have it",
        origin=data.name,
        scorer=Scorer(kind=Scorer.KIND_EXACT_TEXT),
        rules=(GateRule(metric="text", min_lower_bound=0.0),),
        test_fraction=0.3,
        train_rows=160,
        held_out_rows=120,
        reported_rows=0,
        corrections=40,
        replay=60,
        max_tokens=96,
        lap1={**plan.lap1, **longer, "epochs": 1.0, "learning_rate": 4e-4},
        lap2={**plan.lap2, **longer, "epochs": 1.0, "learning_rate": 4e-4},
        dpo={**plan.dpo, **longer},
    )


def quick(plan: Plan) -> Plan:
    """The same way in at most five minutes; what the gate says of so little training is not the point."""
    return replace(
        plan,
        train_rows=48,
        held_out_rows=24,
        reported_rows=8,
        corrections=12,
        replay=12,
        max_tokens=min(plan.max_tokens, 48),
        quantisations=plan.quantisations[:1],
        traffic_steps=(50, 100),
        step_seconds=1,
        lap1={**plan.lap1, "epochs": 1.0, "max_length": min(128, plan.lap1["max_length"])},
        lap2={**plan.lap2, "epochs": 1.0, "max_length": min(128, plan.lap2["max_length"])},
        dpo={**plan.dpo, "epochs": 1.0, "max_length": min(128, plan.dpo["max_length"])},
    )
