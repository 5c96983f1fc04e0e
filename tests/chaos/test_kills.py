"""Kill what you like while a model trains: nothing is lost, nothing is done twice, and the run ends as it was asked to.

A walk kills all eight services, the trainer, the broker and PostgreSQL. One is in `make test`; `make test-all` adds
walks in other orders.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gyre_sdk import messages
from gyre_sdk.client import Gyre

from tests.chaos import harness
from tests.chaos.harness import Ledger, Witness, available, until
from tests.conftest import Running, start, stop
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
PROJECT, MODEL = "chaos", "survivor"
TRAINER = "trainer"
PARTS = (
    "dataset", "training_scheduler", "gpu_scheduler", "evaluation", TRAINER,
    "model_registry", "inference_gateway", "feedback", "api_gateway", "broker", "postgres",
)  # fmt: skip
STEPS = 480
CHECKPOINT_EVERY = 20
OPEN = ("QUEUED", "STARTING", "RUNNING")
STEP_WITHIN = 300.0  # seconds; a trainer that is started again loads torch first
RUN_ENDS_WITHIN = 600.0  # seconds after the last kill
SETTLES_WITHIN = 180.0  # seconds after the run's end, for what follows from it
RUN_SUCCEEDED = "gyre.training_scheduler.v1.RunSucceeded"


@pytest.fixture(scope="module")
def victim() -> Iterator[Running]:
    """A platform of its own: others must not feel the kills."""
    platform = start()
    try:
        yield platform
    finally:
        stop(platform)


@pytest.fixture(scope="module")
def gyre(victim: Running) -> Gyre:
    victim.client().projects.create(PROJECT)
    return victim.client(PROJECT)


@pytest.fixture(scope="module")
def material(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A data set version and a base model, by name."""
    folder = tmp_path_factory.mktemp("chaos")
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(HOTLINE.read_text("utf-8").splitlines()[:120]) + "\n", "utf-8")
    version = gyre.datasets.import_file(rows, "calls", "SFT", licence="CC0-1.0", origin="written for Gyre")
    base = tiny_base(gyre, folder, rows.read_text("utf-8").splitlines(), hidden=256)
    return {
        "data": gyre.datasets.wait_version(version.name, timeout=SETTLES_WITHIN).name,
        "base": base,
    }


@pytest.mark.timeout(1800)
def test_a_run_survives_the_kill_of_every_part(victim: Running, gyre: Gyre, material: dict[str, str]) -> None:
    _walk("kills", PARTS, victim, gyre, material)


@pytest.mark.chaos_long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_survives_it_in_any_order(seed: int, victim: Running, gyre: Gyre, material: dict[str, str]) -> None:
    _walk(f"kills_{seed}", random.Random(seed).sample(PARTS, len(PARTS)), victim, gyre, material)


def _walk(name: str, parts: Sequence[str], victim: Running, gyre: Gyre, material: dict[str, str]) -> None:
    """One run of STEPS steps in which each of `parts` dies after a step that was logged."""
    witness = Witness(victim, harness.OUT / f"{name}.txt")
    run = _start_run(gyre, material, name)  # 1 start
    step, gap = 0, (STEPS // 2) // len(parts)
    for part in parts:  # 2 kill
        seen = _step_after(gyre, run, max(step + gap, CHECKPOINT_EVERY + 2 if part == TRAINER else 0))
        assert messages.enum_name(seen, "state") == "RUNNING", f"the run ended before {part} could be killed: {seen}"
        step = seen.step
        witness.kill_trainer(seen) if part == TRAINER else witness.kill(part, seen)
    ended = gyre.runs.wait(run, timeout=RUN_ENDS_WITHIN)  # 3 look
    witness.say(
        f"{messages.enum_name(ended, 'state')} after attempt {ended.attempt}, resumed from step "
        f"{ended.resumed_from_step}, {ended.step} of {ended.total_steps} steps"
    )
    _check_run(gyre, ended)
    witness.say(f"one version: {_check_version(gyre, run)}")
    witness.say(f"{_check_events(victim, run)} events, none dead, each applied once by each consumer")
    assert until(lambda: harness.is_ready(victim), "all parts are ready", harness.BACK_WITHIN)
    assert harness.orphans(victim) == []
    witness.say("no orphan process")


def _start_run(gyre: Gyre, material: dict[str, str], name: str) -> str:
    hyperparameters = {
        "max_steps": STEPS,
        "checkpoint_every": CHECKPOINT_EVERY,
        "batch_size": 8,
        "gradient_accumulation_steps": 2,  # slow enough to be killed in the middle
        "max_length": 128,
        "lora_rank": 4,
        "lora_alpha": 8,
        "learning_rate": 1e-3,
    }
    run = gyre.runs.create(
        display_name=name,
        base=material["base"],
        datasets=[material["data"]],
        hyperparameters=hyperparameters,
        register_as=f"projects/{PROJECT}/models/{MODEL}",
    )
    return str(run.name)


def _step_after(gyre: Gyre, run: str, step: int) -> Any:
    """The run, once it has logged more than `step` steps, or has ended."""

    def look() -> Any:
        seen = available(lambda: gyre.runs.get(run))
        is_there = seen is not None and (seen.step > step or messages.enum_name(seen, "state") not in OPEN)
        return seen if is_there else None

    return until(look, f"{run} is past step {step}", seconds=STEP_WITHIN)


def _check_run(gyre: Gyre, run: Any) -> None:
    assert messages.enum_name(run, "state") == "SUCCEEDED", run.failure_message
    assert (run.step, run.total_steps) == (STEPS, STEPS)
    assert run.attempt == 2, "only the trainer's own death costs an attempt"
    assert run.resumed_from_step > 0
    assert run.resumed_from_step % CHECKPOINT_EVERY == 0
    assert [other.name for other in gyre.runs.list() if other.display_name == run.display_name] == [run.name]
    logged = [point.step for point in gyre.runs.metrics(run.name) if "loss" in point.metrics]
    assert len(logged) == len(set(logged))
    assert max(logged) == STEPS


def _check_version(gyre: Gyre, run: str) -> str:
    version = gyre.models.await_run(MODEL, run, timeout=SETTLES_WITHIN)
    gyre.models.wait_version(version.name, timeout=SETTLES_WITHIN)
    assert [found.name for found in gyre.models.versions(MODEL, filter=f"run={run}")] == [version.name]
    return str(version.name)


def _check_events(victim: Running, run: str) -> int:
    """Every fact went out, and each consumer applied each once, though the broker forgot everything on the way."""
    until(lambda: not Ledger.read(victim).unsent(), "all events are sent", SETTLES_WITHIN)
    until(lambda: not Ledger.read(victim).not_applied_once(), "each event is applied once", SETTLES_WITHIN)
    ledger = Ledger.read(victim)
    assert ledger.dead() == []
    succeeded = ledger.events(RUN_SUCCEEDED, run)
    assert len(succeeded) == 1
    assert ledger.inbox["model_registry"].count(succeeded[0]["event_id"]) == 1
    return sum(len(rows) for rows in ledger.sent.values())
