"""What may happen to a trainer: kills, commands, a scheduler that is away, a newer attempt, wrong specs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gyre.training_scheduler.v1.run_report_service_pb2 import HeartbeatResponse
from gyre_kit.testing import eventually
from gyre_trainers import exits, manifest
from safetensors.torch import load_file

Command = HeartbeatResponse.Command
Specs = Callable[..., Path]


def run_name(run: str) -> str:
    return f"projects/acme/runs/{run}"


async def reported(scheduler: Any, run: str, checkpoints: int) -> None:
    async def enough() -> bool:
        return len(scheduler.checkpoints.get(run_name(run), [])) >= checkpoints

    await eventually(enough, seconds=120)


def next_attempt(spec: Path, attempt: int) -> Path:
    """The same spec as a launcher hands it to a later attempt."""
    content = json.loads(spec.read_text())
    path = spec.with_name(f"spec-{attempt}.json")
    path.write_text(json.dumps({**content, "attempt": attempt}))
    return path


async def test_a_killed_run_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_happened(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    wanted = {"max_steps": 120, "checkpoint_every": 10, "learning_rate": 1e-3}
    whole = await launch(specs("whole", "SFT", hyperparameters=wanted))
    spec = specs("killed", "SFT", hyperparameters=wanted)
    first = await launch(spec)
    await reported(scheduler, "killed", 2)
    first.kill()
    assert await first.code() == -signal.SIGKILL
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    assert await whole.code() == 0, whole.log.read_text()
    completed = scheduler.completed[run_name("killed")]
    resumed_from = scheduler.beats[run_name("killed")][-1].resumed_from_step
    assert completed.attempt == 2
    assert completed.steps == 120
    assert resumed_from >= 20
    assert resumed_from % 10 == 0
    left, right = (load_file(objects / f"runs/{run}/model/model.safetensors") for run in ("whole/1", "killed/2"))
    assert left.keys() == right.keys()
    assert all(left[name].equal(right[name]) for name in left)


async def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    spec = specs("damaged", "SFT", hyperparameters={"max_steps": 3000, "checkpoint_every": 10})
    first = await launch(spec)
    await reported(scheduler, "damaged", 3)
    first.kill()
    await first.code()
    folders = sorted((objects / "runs/damaged/1").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [folder for folder in folders if manifest.verified(folder)]
    with (whole[-1] / "optimizer.pt").open("r+b") as file:
        file.write(b"damaged")
    scheduler.commands[run_name("damaged")] = Command.COMMAND_STOP
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == exits.STOPPED, second.log.read_text()
    resumed_from = scheduler.beats[run_name("damaged")][-1].resumed_from_step
    assert resumed_from == int(whole[-2].name.split("-")[1])


async def test_a_stop_is_obeyed_after_a_checkpoint_and_the_run_can_go_on(
    launch: Any, specs: Specs, scheduler: Any, objects: Path
) -> None:
    spec = specs("stopped", "SFT", hyperparameters={"max_steps": 1000})
    first = await launch(spec)

    async def stepping() -> bool:
        return any(beat.step > 0 for beat in scheduler.beats.get(run_name("stopped"), []))

    await eventually(stepping, seconds=120)
    scheduler.commands[run_name("stopped")] = Command.COMMAND_STOP
    assert await first.code() == exits.STOPPED, first.log.read_text()
    (saved,) = scheduler.checkpoints[run_name("stopped")]
    folder = objects / saved.uri.removeprefix("gyre://")
    assert manifest.verified(folder) is not None
    assert saved.digest == f"sha256:{manifest.sha256(folder / 'manifest.json')}"
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    assert scheduler.completed[run_name("stopped")].steps == 1000
    assert scheduler.beats[run_name("stopped")][-1].resumed_from_step == saved.step


async def test_a_signal_stops_as_the_command_does(launch: Any, specs: Specs, scheduler: Any) -> None:
    trainer = await launch(specs("signalled", "SFT", hyperparameters={"max_steps": 3000}))

    async def stepping() -> bool:
        return any(beat.step > 0 for beat in scheduler.beats.get(run_name("signalled"), []))

    await eventually(stepping, seconds=120)
    os.kill(trainer.pid, signal.SIGTERM)

    assert await trainer.code() == exits.STOPPED, trainer.log.read_text()
    assert len(scheduler.checkpoints[run_name("signalled")]) == 1


async def test_a_checkpoint_is_written_on_demand_and_training_goes_on(
    launch: Any, specs: Specs, scheduler: Any
) -> None:
    scheduler.commands[run_name("asked")] = Command.COMMAND_CHECKPOINT
    scheduler.renewals[run_name("asked")] = "second-token"
    spec = specs("asked", "SFT", hyperparameters={"max_steps": 80})
    trainer = await launch(spec)

    assert await trainer.code() == 0, trainer.log.read_text()
    assert len(scheduler.checkpoints[run_name("asked")]) == 1
    assert scheduler.tokens[run_name("asked")][0] == "Bearer first-token"
    assert scheduler.tokens[run_name("asked")][-1] == "Bearer second-token"
    assert stat.S_IMODE(spec.with_name("credential").stat().st_mode) == 0o600


async def test_a_scheduler_that_is_away_stops_nothing_and_gets_every_point_once_it_is_back(
    launch: Any, specs: Specs, scheduler: Any
) -> None:
    away = type(scheduler)()  # one of its own, that this test may stop
    await away.start()
    spec = specs("alone", "SFT", report_address=f"127.0.0.1:{away.port}", hyperparameters={"max_steps": 100})
    trainer = await launch(spec)

    async def stepping() -> bool:
        return any(beat.step > 0 for beat in away.beats.get(run_name("alone"), []))

    await eventually(stepping, seconds=120)
    await away.stop()

    async def done_training() -> bool:
        return (spec_output(spec) / "manifest.json").exists()

    await eventually(done_training, seconds=120)
    assert not trainer.ended.done()
    back = type(scheduler)()
    back.port = away.port
    await back.start()

    assert await trainer.code() == 0, trainer.log.read_text()
    assert back.completed[run_name("alone")].steps == 100
    seen = away.points.get(run_name("alone"), {}).keys() | back.points[run_name("alone")].keys()
    assert seen == set(range(1, 101))
    await back.stop()


def spec_output(spec: Path) -> Path:
    content = json.loads(spec.read_text())
    return Path(content["object_store"].removeprefix("file://")) / content["output_prefix"]


async def test_a_newer_attempt_ends_the_older_one_at_once(launch: Any, specs: Specs, scheduler: Any) -> None:
    scheduler.highest[run_name("stale")] = 2
    trainer = await launch(specs("stale", "SFT", hyperparameters={"max_steps": 100_000}))

    assert await trainer.code() == exits.SUPERSEDED


@pytest.mark.parametrize("rank", [0, 8])
async def test_a_killed_ppo_run_ends_with_the_weights_of_one_that_was_not(
    rank: int, launch: Any, specs: Specs, scheduler: Any, objects: Path, scorer: dict[str, str]
) -> None:
    """10 + kill + 10 = 20 steps, over several passes, with a KL coefficient that moves. A kill that comes late is one
    after step 20: what follows is the same."""
    wanted = {"max_steps": 20, "checkpoint_every": 10, "max_new_tokens": 8, "lora_rank": rank, "learning_rate": 1e-3}
    wanted["own"] = {"kl_target": 0.1, "kl_horizon": 100, "num_mini_batches": 2}
    names = whole_name, killed_name = f"ppo-whole-{rank}", f"ppo-killed-{rank}"
    whole = await launch(specs(whole_name, "PPO", reward_model=scorer, hyperparameters=wanted))
    spec = specs(killed_name, "PPO", reward_model=scorer, hyperparameters=wanted)
    first = await launch(spec)
    await reported(scheduler, killed_name, 1)
    if not first.ended.done():
        first.kill()
    await first.code()
    second = await launch(next_attempt(spec, 2))

    assert await second.code() == 0, second.log.read_text()
    assert await whole.code() == 0, whole.log.read_text()
    assert scheduler.beats[run_name(killed_name)][-1].resumed_from_step == 10
    assert scheduler.completed[run_name(killed_name)].steps == 20
    left, right = (
        load_file(objects / f"runs/{name}/{attempt}/model/model.safetensors")
        for name, attempt in zip(names, (1, 2), strict=True)
    )
    assert left.keys() == right.keys()
    assert all(left[name].equal(right[name]) for name in left)
    last = [dict(scheduler.points[run_name(name)][20]) for name in names]
    for metrics in last:
        del metrics["memory_bytes"]  # of its process, not of its method
    assert last[0] == last[1]
    assert last[0]["objective/kl_coef"] != 0.05


PPO = {"method": "PPO", "reward_model": {"uri": "gyre://registry/scorer"}}
BAD_SPECS: dict[str, dict[str, Any]] = {
    "method": {"method": "MAGIC"},
    "hyperparameters.learning_rate": {"hyperparameters": {"learning_rate": -1}},
    "hyperparameters.lerning_rate": {"hyperparameters": {"lerning_rate": 1e-3}},
    "base.uri": {"base": {"uri": "gyre://registry/nothing", "digest": ""}},
    "base.digest": {"base": {"uri": "gyre://registry/tiny", "digest": "sha256:" + 64 * "0"}},
    "data.0.uri": {"data": [{"uri": "gyre://dataset/acme/gone.parquet", "digest": "", "rows": 0}]},
    "data.0.digest": {"data": [{"uri": "gyre://dataset/acme/hotline/1/train.parquet", "digest": "sha256:" + 64 * "0"}]},
    "hyperparameters.own.cliprange": {**PPO, "hyperparameters": {"own": {"cliprange": 0}}},
    "hyperparameters.own.num_mini_batches": {**PPO, "hyperparameters": {"own": {"num_mini_batches": 3}}},
    "hyperparameters.own.lam": {"hyperparameters": {"own": {"lam": 0.9}}},
    "reward_model": {"method": "PPO"},
    "surprise": {"surprise": 1},
}


@pytest.mark.parametrize("field", BAD_SPECS)
async def test_a_bad_spec_is_refused_by_the_name_of_its_field(field: str, launch: Any, specs: Specs) -> None:
    trainer = await launch(specs("bad", **{"method": "SFT", **BAD_SPECS[field]}))

    assert await trainer.code() == exits.BAD_INPUT
    assert f"error: {field}: " in trainer.log.read_text()


async def test_rows_of_the_wrong_type_are_refused(launch: Any, specs: Specs) -> None:
    trainer = await launch(specs("mismatch", "DPO", rows="SFT"))

    assert await trainer.code() == exits.BAD_INPUT
    assert "error: data.0.uri: no column prompt, chosen, rejected" in trainer.log.read_text()


async def test_a_base_that_generates_no_text_is_refused(
    launch: Any, specs: Specs, objects: Path, scorer: dict[str, str]
) -> None:
    trainer = await launch(specs("scorer", "SFT", base=scorer))

    assert await trainer.code() == exits.BAD_INPUT
    assert "error: base.uri: LlamaForSequenceClassification generates no text" in trainer.log.read_text()


async def test_the_module_runs_as_a_plain_command(specs: Specs, scheduler: Any, objects: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gyre_trainers.run",
        str(specs("command", "SFT", hyperparameters={"max_steps": 2})),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    _, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    assert scheduler.completed[run_name("command")].steps == 2
    assert scheduler.beats[run_name("command")][0].step == 0  # sent while torch was still being imported
