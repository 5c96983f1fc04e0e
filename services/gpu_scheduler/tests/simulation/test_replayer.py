"""Replays in a process of their own: one at a time, bounded, and kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import astuple
from pathlib import Path

import psutil
import pytest
from gyre_kit.testing import eventually

from services.gpu_scheduler.simulation.model import Job, Node
from services.gpu_scheduler.simulation.replayer import Replayer, WhatIfBusy, WhatIfFailed, WhatIfTooLong
from services.gpu_scheduler.simulation.service import WhatIfTooLarge

BAD = "services.gpu_scheduler.tests.simulation.bad_child"
MEMORY = 1 << 28


def payload(policy: str = "fifo") -> bytes:
    """Two jobs of 10 s at once, on one card and on two."""
    jobs = [astuple(Job(name, 0, 10, 1)) for name in ("a", "b")]
    bounds = [{"nodes": [astuple(Node("n", cards, "f"))], "quotas": []} for cards in (1, 2)]
    return json.dumps({"policy": policy, "jobs": jobs, "bounds": bounds}).encode()


async def pid_in(path: Path) -> int:
    async def written() -> str:
        return path.read_text() if path.exists() else ""

    return int(await eventually(written))


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_the_answer_is_a_report_for_each_of_the_two(tmp_path: Path) -> None:
    digest, (before, after) = await Replayer(30, MEMORY).reports(payload())
    assert digest.startswith("sha256:")
    assert (before["mean_wait_s"], after["mean_wait_s"], before["makespan_s"], after["makespan_s"]) == (5, 0, 20, 10)


async def test_the_same_question_again_costs_no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    replayer = Replayer(30, MEMORY)
    together = await asyncio.gather(replayer.reports(payload()), replayer.reports(payload()))
    monkeypatch.setattr(replayer, "_module", "no.such.module")
    assert [*together, await replayer.reports(payload())] == [together[0]] * 3


async def test_a_second_question_is_told_to_wait(tmp_path: Path) -> None:
    replayer = Replayer(30, MEMORY, BAD)
    first = asyncio.create_task(replayer.reports(payload(f"sleep:{tmp_path / 'pid'}")))
    pid = await pid_in(tmp_path / "pid")
    with pytest.raises(WhatIfBusy):
        await replayer.reports(payload("other"))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WhatIfFailed):
        await first


async def test_a_replay_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    replayer = Replayer(3, MEMORY, BAD)
    with pytest.raises(WhatIfTooLong):
        await replayer.reports(payload(f"sleep:{tmp_path / 'pid'}"))
    assert is_gone(await pid_in(tmp_path / "pid"))
    with pytest.raises(WhatIfFailed):  # and the next one has its turn
        await replayer.reports(payload("raise"))


async def test_a_replay_that_wants_too_much_memory_is_told_so() -> None:
    with pytest.raises(WhatIfTooLarge):
        await Replayer(30, MEMORY, BAD).reports(payload("eat"))


async def test_a_replay_that_fails_says_what_it_said_last() -> None:
    with pytest.raises(WhatIfFailed, match="it went wrong"):
        await Replayer(30, MEMORY, BAD).reports(payload("raise"))


async def test_a_replay_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """As when the service is killed: the pipe that it read its question from is closed."""
    path = tmp_path / "pid"
    question = repr(payload(f"sleep:{path}"))
    asks = f"Replayer(30, {MEMORY}, {BAD!r}).reports({question})"
    code = f"import asyncio; from {Replayer.__module__} import Replayer; asyncio.run({asks})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment)
    pid = await pid_in(path)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return is_gone(pid)

    await eventually(gone)
