"""Checkpoints in a store that is no folder: what is put there, and what a later attempt makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gyre_kit.storage import ObjectStore
from gyre_trainers import checkpoints, manifest
from gyre_trainers.spec import Spec


def spec_of(attempt: int = 1, **changes: Any) -> Spec:
    content = {
        "run": "projects/acme/runs/one",
        "attempt": attempt,
        "method": "SFT",
        "base": {"uri": "gyre://registry/tiny"},
        "data": [{"uri": "gyre://dataset/rows.parquet"}],
        "output_prefix": "runs/one/1",
        "object_store": "memory://",
        "report_address": "127.0.0.1:1",
        "credential_file": "/nowhere",
    }
    return Spec.model_validate({**content, **changes})


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore.from_url("memory://")


async def save(store: ObjectStore, folder: Path, step: int, spec: Spec) -> None:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text(f"weights of {step}")
    (checkpoint / "training_args.bin").write_text("a pickle")
    await checkpoints.publish(store, spec, checkpoint, step)


async def test_the_newest_of_all_attempts_is_taken(store: ObjectStore, tmp_path: Path) -> None:
    await save(store, tmp_path / "1", 20, spec_of(1))
    await save(store, tmp_path / "2", 10, spec_of(2))

    found = await checkpoints.newest(store, spec_of(3), tmp_path / "scratch")

    assert found is not None
    assert found.step == 20
    assert (found.folder / "weights").read_text() == "weights of 20"
    assert not (found.folder / "training_args.bin").exists()


async def test_a_damaged_one_is_passed_over(store: ObjectStore, tmp_path: Path) -> None:
    await save(store, tmp_path, 10, spec_of())
    await save(store, tmp_path, 20, spec_of())
    await store.put("runs/one/1/checkpoint-20/weights", b"weights of 99")

    found = await checkpoints.newest(store, spec_of(2), tmp_path / "scratch")

    assert found is not None
    assert found.step == 10


async def test_one_without_a_manifest_does_not_exist(store: ObjectStore, tmp_path: Path) -> None:
    await save(store, tmp_path, 10, spec_of())
    await store.delete([f"runs/one/1/checkpoint-10/{manifest.NAME}"])

    assert await checkpoints.newest(store, spec_of(2), tmp_path / "scratch") is None


async def test_one_of_other_hyperparameters_is_of_no_use(store: ObjectStore, tmp_path: Path) -> None:
    await save(store, tmp_path, 10, spec_of())

    assert await checkpoints.newest(store, spec_of(2, seed=8), tmp_path / "scratch") is None


async def test_the_best_is_kept_however_old_it_is(store: ObjectStore, tmp_path: Path) -> None:
    spec = spec_of()
    for step, score in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0), (60, None)):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        saved = await checkpoints.publish(store, spec, checkpoint, step, score, best_step=20 if step >= 20 else 10)

    assert saved.kept_steps == (60, 50, 40, 20)
    best = await checkpoints.best(store, spec_of(2))
    assert best is not None and best.step == 20
    await checkpoints.drop_later(store, spec, 20, beside=checkpoint)
    found = await checkpoints.newest(store, spec_of(2), tmp_path / "scratch")
    assert found is not None and found.step == 20


async def test_the_oldest_are_dropped(store: ObjectStore, tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 50):
        await save(store, tmp_path, step, spec_of())

    steps = {int(key.split("-")[1].split("/")[0]) for key in await store.list("runs/one")}
    assert steps == {30, 40, 50}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-30", "checkpoint-40", "checkpoint-50"]
