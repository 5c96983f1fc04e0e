"""By day replicas have the cores, at night training does, and in the morning the replicas have them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gyre_sdk import messages
from gyre_sdk.client import Gyre

from services.gpu_scheduler.settings import Settings
from tests.chaos.harness import until
from tests.conftest import Running, start, stop
from tests.tiny import tiny_base
from tests.work import MODULE, trainer

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
OWN = "cpu=cpu:2,memory:8GiB"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of four cores serving has two, which is a core for each of two replicas, and training has two."""
    running = start(
        GYRE_NODE_CPU_MILLI="4000",
        GYRE_NODE_MEMORY_BYTES=str(16 * 1024**3),
        GYRE_REPLICA_CPU_MILLI="1000",
        GYRE_STOP_GRACE_SECONDS="1",
        GYRE_WORKLOAD_MODULES=json.dumps([*Settings().workload_modules, MODULE]),
    )
    try:
        gyre, folder = running.client(), tmp_path_factory.mktemp("tiny")
        tiny_base(gyre, folder, HOTLINE.read_text("utf-8").splitlines()[:60])
        made = gyre.models.create_variant("tiny@1", "Q8_0")
        gyre.models.wait_variant(made.name, timeout=300)
        command(running, "cohorts", "create", "office")
        for door in ("serve", "train"):
            command(running, "cluster-queues", "create", door, "--cohort", "office", "--quota", OWN)
            command(running, "queues", "create", door, "--cluster-queue", door)
        yield running
    finally:
        stop(running)


def command(running: Running, *arguments: str) -> str:
    done = running.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def window(begins: timedelta, ends: timedelta, replicas: str) -> str:
    """From now; by the minute, and over midnight if need be."""
    start, end = (datetime.now(UTC) + each for each in (begins, ends))
    return f"every {start:%H:%M}-{end:%H:%M} {replicas}"


def ready(gyre: Gyre) -> int:
    return sum(each.ready_replicas for each in gyre.deployments.get("tiny").targets)


def state_of(gyre: Gyre, workload: str) -> str:
    return messages.enum_name(gyre.workloads.get(workload), "state")


def by_hours(platform: Running, *windows: str) -> str:
    """Outside of its windows it may sleep."""
    given = [word for each in windows for word in ("--window", each)]
    return command(platform, "deployments", "scale", "tiny", "--min", "0", "--idle-seconds", "1", *given)


def test_cores_go_to_training_at_night_and_come_back_before_the_morning(platform: Running) -> None:
    gyre, hours = platform.client(), lambda count: timedelta(hours=count)
    command(platform, "deployments", "create", "tiny", "--variant", "tiny@1:q8-0", "--queue", "serve")
    assert "may have to make room" not in by_hours(platform, window(hours(-1), hours(3), "2-2"))
    until(lambda: ready(gyre) == 2, "both replicas answer by day", 120)
    served = [gyre.workloads.get(each.workload) for each in gyre.deployments.replicas("tiny")]
    assert [each.spec.guaranteed for each in served] == [True, True]

    night_work = trainer(platform, "train", cpu_milli=3000)
    until(lambda: gyre.workloads.get(night_work).waiting_reason == "QUOTA_EXHAUSTED", "training waits by day", 30)
    by_hours(platform, window(hours(3), hours(4), "2-2"))
    until(lambda: state_of(gyre, night_work) == "RUNNING", "training has the cores at night", 120)

    by_hours(platform, window(timedelta(minutes=1), hours(3), "2-2"))
    until(lambda: ready(gyre) == 2, "both replicas answer when the window begins, or soon after", 180)
    found = gyre.workloads.get(night_work)
    assert (messages.enum_name(found, "state"), found.preemption_rule) == ("QUEUED", "RECLAIM")


def test_more_than_the_queues_own_quota_holds_is_said(platform: Running) -> None:
    said = command(platform, "deployments", "scale", "tiny", "--min", "3", "--max", "3")
    assert "holds 2 of the 3 replicas" in said
