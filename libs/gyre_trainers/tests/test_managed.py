"""What a run survives and what it can be asked: a kill between steps, a full disk, an early end, bad health, a fork."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gyre.training_scheduler.v1.run_pb2 import Alarm
from gyre.training_scheduler.v1.run_report_service_pb2 import HeartbeatResponse
from gyre_kit.testing import eventually
from gyre_trainers import exits, manifest
from safetensors.torch import load_file, save_file

Command = HeartbeatResponse.Command
Specs = Callable[..., Path]
SHORT = {"max_steps": 20, "checkpoint_every": 10, "learning_rate": 1e-3}


def run_name(run: str) -> str:
    return f"projects/acme/runs/{run}"


def next_attempt(spec: Path, attempt: int) -> Path:
    path = spec.with_name(f"spec-{attempt}.json")
    path.write_text(json.dumps({**json.loads(spec.read_text()), "attempt": attempt}))
    return path


def digest_of_weights(objects: Path, attempt: str) -> str:
    return manifest.sha256(objects / f"runs/{attempt}/model/model.safetensors")


@pytest.mark.parametrize(("method", "rows"), [("SFT", "SFT"), ("DPO", "PREFERENCE")])
async def test_ten_steps_a_kill_and_ten_more_make_the_weights_of_twenty(
    method: str, rows: str, launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    whole = await launch(specs(f"whole-{method}", method, rows=rows, hyperparameters=SHORT))
    spec = specs(f"killed-{method}", method, rows=rows, hyperparameters=SHORT)
    first = await launch(spec, kill_at=10)
    assert await first.code() == -signal.SIGKILL, first.log.read_text()
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    assert await whole.code() == 0, whole.log.read_text()
    assert scheduler.beats[run_name(f"killed-{method}")][-1].resumed_from_step == 10
    assert digest_of_weights(objects, f"killed-{method}/2") == digest_of_weights(objects, f"whole-{method}/1")


async def test_a_truncated_newest_checkpoint_is_told_and_an_older_one_taken(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    spec = specs("truncated", "SFT", hyperparameters=SHORT | {"checkpoint_every": 5})
    first = await launch(spec, kill_at=10)
    await first.code()
    shard = objects / "runs/truncated/1/checkpoint-10/adapter_model.safetensors"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    (alarm,) = scheduler.alarms[run_name("truncated")]
    assert (alarm.kind, alarm.action, alarm.attempt) == (Alarm.KIND_CHECKPOINT_DAMAGED, Alarm.ACTION_WARN, 2)
    assert alarm.values["back_to"] == 5
    assert alarm.detail == "gyre://runs/truncated/1/checkpoint-10"
    assert scheduler.beats[run_name("truncated")][-1].resumed_from_step == 5


async def test_a_disk_that_fills_costs_a_checkpoint_and_not_the_run(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    full = objects / "runs/full/1/checkpoint-10"
    full.mkdir(parents=True)
    (full / "optimizer.pt").symlink_to("/dev/full")  # each write there ends with ENOSPC
    trainer = await launch(specs("full", "SFT", hyperparameters=SHORT | {"checkpoint_every": 5}))

    assert await trainer.code() == 0, trainer.log.read_text()
    (alarm,) = scheduler.alarms[run_name("full")]
    assert (alarm.kind, alarm.step) == (Alarm.KIND_CHECKPOINT_NOT_WRITTEN, 10)
    assert alarm.detail
    assert [saved.step for saved in scheduler.checkpoints[run_name("full")]] == [5, 15]
    assert scheduler.completed[run_name("full")].steps == 20


async def test_a_run_that_is_told_to_finish_makes_a_result_of_what_it_has(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    spec = specs("early", "SFT", hyperparameters={"max_steps": 3000})
    trainer = await launch(spec)

    async def stepping() -> bool:
        return any(beat.step > 0 for beat in scheduler.beats.get(run_name("early"), []))

    await eventually(stepping, seconds=120)
    scheduler.commands[run_name("early")] = Command.COMMAND_FINISH

    assert await trainer.code() == 0, trainer.log.read_text()
    completed = scheduler.completed[run_name("early")]
    assert 0 < completed.steps < 3000
    assert manifest.verified(objects / "runs/early/1") is not None


async def test_a_paused_run_that_is_to_finish_makes_its_result_of_the_last_checkpoint(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    spec = specs("kept", "SFT", hyperparameters=SHORT)
    first = await launch(spec, kill_at=10)
    await first.code()
    scheduler.commands[run_name("kept")] = Command.COMMAND_FINISH
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    assert scheduler.completed[run_name("kept")].steps == 10
    saved, result = (
        load_file(objects / path / "adapter_model.safetensors")
        for path in ("runs/kept/1/checkpoint-10", "runs/kept/2/adapter")
    )
    assert all(saved[name].equal(result[name]) for name in saved)


async def test_a_loss_that_is_no_number_ends_a_run_without_a_checkpoint_and_is_not_tried_again(
    launch: Any, specs: Specs, scheduler: Any, objects: Path, base: dict[str, str]
) -> None:
    broken = objects / "registry" / "broken"
    broken.mkdir()
    for path in (objects / "registry" / "tiny").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    artifact = {"uri": "gyre://registry/broken", "digest": manifest.write(broken, {"kind": "model"})}
    trainer = await launch(specs("nan", "SFT", base=artifact, hyperparameters=SHORT))

    assert await trainer.code() == exits.UNWELL
    (alarm,) = scheduler.alarms[run_name("nan")]
    assert (alarm.kind, alarm.action, alarm.step) == (Alarm.KIND_NOT_FINITE, Alarm.ACTION_STOP, 1)
    assert "loss is nan" in alarm.detail


async def test_a_run_that_stays_unwell_goes_back_three_times_at_half_the_rate_and_then_stops(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    wanted = {"max_steps": 600, "checkpoint_every": 10, "learning_rate": 1e-6, "warmup_ratio": 0}
    health = {"loss_spike": "ROLL_BACK", "spike_deviations": 1e-3}  # an even loss, of which every ripple is a spike
    trainer = await launch(specs("ripples", "SFT", hyperparameters=wanted, health=health))

    assert await trainer.code() == exits.UNWELL, trainer.log.read_text()
    alarms = scheduler.alarms[run_name("ripples")]
    back, stop = Alarm.ACTION_ROLL_BACK, Alarm.ACTION_STOP
    assert [alarm.action for alarm in alarms] == [back, back, back, stop]
    assert {alarm.kind for alarm in alarms} == {Alarm.KIND_LOSS_SPIKE}
    assert all(alarm.values["back_to"] % 10 == 0 and alarm.values["back_to"] < alarm.step for alarm in alarms[:3])
    last = max(scheduler.points[run_name("ripples")])
    rate = scheduler.points[run_name("ripples")][last]["learning_rate"]
    assert rate == pytest.approx(1e-6 / 8 * (1 - (last - 1) / 600), rel=0.02)


async def test_a_fork_begins_with_the_weights_of_the_checkpoint_and_counts_from_nothing(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    first = await launch(specs("parent", "SFT", hyperparameters=SHORT), kill_at=10)
    await first.code()
    folder = objects / "runs/parent/1/checkpoint-10"
    begin = {"uri": "gyre://runs/parent/1/checkpoint-10", "digest": f"sha256:{manifest.sha256(folder / manifest.NAME)}"}
    still = SHORT | {"max_steps": 1, "learning_rate": 1e-9}
    fork = await launch(specs("fork", "SFT", hyperparameters=still, begin_from=begin))

    assert await fork.code() == 0, fork.log.read_text()
    assert scheduler.completed[run_name("fork")].steps == 1
    before, after = (
        load_file(objects / path / "adapter_model.safetensors")
        for path in ("runs/parent/1/checkpoint-10", "runs/fork/1/adapter")
    )
    assert all(before[name].allclose(after[name], atol=1e-6) for name in before)
    assert any(before[name].abs().max() > 1e-4 for name in before if "lora_B" in name)


async def test_a_fork_of_a_damaged_checkpoint_is_refused(launch: Any, specs: Specs) -> None:
    begin = {"uri": "gyre://runs/nobody/1/checkpoint-10", "digest": ""}
    trainer = await launch(specs("orphan", "SFT", begin_from=begin))

    assert await trainer.code() == exits.BAD_INPUT
    assert "error: begin_from: " in trainer.log.read_text()
