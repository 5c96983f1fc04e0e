"""A dry run of ten steps: what it shows is what the run does, and nothing of it stays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gyre_trainers import exits, trial
from gyre_trainers.tests.conftest import data_file, messages_rows


async def tried(launch: Any, spec: Path) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what was printed, and the report."""
    report = spec.with_name("result.json")
    trainer = await launch(spec, trial=True)
    code = await trainer.code()
    return code, trainer.log.read_text(), json.loads(report.read_text()) if report.exists() else {}


def files_below(folder: Path) -> set[str]:
    return {os.path.join(at, name) for at, _, names in os.walk(folder) for name in names}


async def test_the_losses_are_those_of_the_run_and_nothing_stays(
    launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path
) -> None:
    spec = specs("tried", "SFT", hyperparameters={"max_steps": 14, "checkpoint_every": 2})
    before = files_below(objects)

    code, errors, report = await tried(launch, spec)

    assert code == exits.DONE, errors
    assert files_below(objects) == before
    assert "projects/acme/runs/tried" not in scheduler.beats
    assert (report["steps"], report["total_steps"], report["alarms"]) == (10, 14, [])
    assert report["first_step_seconds"] > 0 and report["peak_memory_bytes"] > 0 and report["tokens_per_second"] > 0
    seconds = report["training_seconds"]
    assert seconds["low"] <= seconds["expected"] <= seconds["high"]
    run = await launch(spec)
    assert await run.code() == 0, run.log.read_text()
    assert report["losses"] == scheduler.curve("projects/acme/runs/tried", "loss")[:10]


async def test_loss_is_shown_on_the_answer_alone(launch: Any, specs: Callable[..., Path]) -> None:
    _, errors, report = await tried(launch, specs("shown", "SFT", hyperparameters={"max_steps": 1}))

    assert len(report["samples"]) == 3, errors
    for sample, row in zip(report["samples"], messages_rows(3), strict=True):
        question, answer = (message["content"] for message in row["messages"])
        learned = "".join(piece["text"] for piece in sample["text"] if piece["loss"])
        asked = "".join(piece["text"] for piece in sample["text"] if not piece["loss"])
        assert answer in learned and question in asked and question not in learned
    assert report["step_seconds"] is None and report["training_seconds"] is None  # one step tells neither


async def test_both_answers_of_a_pair_are_shown(launch: Any, specs: Callable[..., Path]) -> None:
    _, errors, report = await tried(launch, specs("pairs", "DPO", rows="PREFERENCE", hyperparameters={"max_steps": 2}))

    assert report, errors
    learned = {
        side: "".join(piece["text"] for piece in shown if piece["loss"]) for side, shown in report["samples"][0].items()
    }
    assert "We will look at it." in learned["chosen"]
    assert "I cannot help you with roads" in learned["rejected"]
    assert report["tokens"]["sequences"] == 64


async def test_rows_that_are_cut_are_counted(launch: Any, specs: Callable[..., Path], objects: Path) -> None:
    rows = messages_rows(4)
    rows[0]["messages"][1]["content"] *= 20
    mixed = data_file(objects, "dataset/acme/long/1/train.parquet", rows)

    _, errors, report = await tried(launch, specs("long", "SFT", data=[mixed], hyperparameters={"max_steps": 1}))

    assert report, errors
    assert report["tokens"]["cut_share"] == 0.25
    assert report["tokens"]["max"] > 128 >= report["tokens"]["p50"]


@pytest.mark.parametrize("method", ["REWARD", "KTO", "ORPO"])
async def test_what_is_learned_of_a_pair_is_the_methods_own(
    method: str, launch: Any, specs: Callable[..., Path]
) -> None:
    spec = specs(f"tried-{method.lower()}", method, rows="PREFERENCE", hyperparameters={"max_steps": 2})
    code, errors, report = await tried(launch, spec)

    assert code == exits.DONE, errors
    assert len(report["losses"]) == 2 and None not in report["losses"]
    chosen = report["samples"][0]["chosen"]
    learned = "".join(piece["text"] for piece in chosen if piece["loss"])
    assert ("We will look at it." in learned) == (method != "REWARD")
    assert ("Something about" in learned) == (method == "ORPO")  # as TRL has it
    assert "Something about" in "".join(piece["text"] for piece in chosen)


@pytest.mark.parametrize("method", ["PPO", "GRPO"])
async def test_prompts_are_shown_with_an_answer_of_the_base(
    method: str, launch: Any, specs: Callable[..., Path], scorer: dict[str, str]
) -> None:
    wanted = {"max_steps": 11, "max_new_tokens": 6, "num_generations": 2, "batch_size": 4}
    if method == "PPO":
        del wanted["num_generations"]
    spec = specs(f"tried-{method.lower()}", method, reward_model=scorer, hyperparameters=wanted)

    code, errors, report = await tried(launch, spec)

    assert code == exits.DONE, errors
    assert (report["steps"], report["total_steps"]) == (10, 11)
    assert None not in report["losses"] and report["step_seconds"] > 0
    asked, answer = report["samples"][0]["text"]
    assert (asked["loss"], answer["loss"]) == (False, True)
    assert messages_rows(1)[0]["messages"][0]["content"] in asked["text"] and answer["text"]


async def test_rows_of_another_shape_are_refused(launch: Any, specs: Callable[..., Path]) -> None:
    code, errors, report = await tried(launch, specs("refused", method="DPO"))

    assert (code, report) == (exits.BAD_INPUT, {})
    assert "error: data.0.uri: no column prompt, chosen, rejected" in errors


def test_the_prediction_counts_the_slow_first_step_once() -> None:
    assert trial.predicted(5.0, [1.0, 2.0, 3.0], total=11) == {"low": 15.0, "expected": 25.0, "high": 35.0}
    assert trial.predicted(5.0, [], total=1) is None
