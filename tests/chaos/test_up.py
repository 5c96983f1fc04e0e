"""`gyre up` and `gyre down`: what is there stays, what dies comes back, and what ends leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from gyre_kit import addresses

from deploy.local import children, ports
from tests.chaos import harness
from tests.chaos.harness import until
from tests.chaos.test_serving import engine
from tests.conftest import Running, start, stop

MOST_IDLE_BYTES = 1_500_000_000


@pytest.fixture(scope="module")
def victim() -> Iterator[Running]:
    platform = start()
    try:
        yield platform
    finally:
        stop(platform)


def test_up_twice_changes_nothing(victim: Running) -> None:
    before = harness.pids(victim)
    again = victim.command("up")
    assert again.returncode == 0, again.stderr
    assert harness.pids(victim) == before
    assert all(before.values())


def test_an_idle_platform_fits_its_memory(victim: Running) -> None:
    report = harness.report_of(victim)
    for part in (*report.services, report.postgres, report.broker, report.supervisor):
        print(f"{part.name:20} {part.memory_bytes / 1e6:7.1f} MB")
    print(f"{'in all':20} {report.memory_bytes / 1e6:7.1f} MB (PSS)")
    assert report.memory_bytes <= MOST_IDLE_BYTES


@pytest.mark.parametrize("name", ["feedback", "broker"])
def test_what_dies_is_started_again_and_status_says_so(victim: Running, name: str) -> None:
    before = _part(victim, name)
    os.kill(before["pid"], signal.SIGKILL)
    back = lambda: harness.is_ready(victim) and harness.pids(victim)[name] not in (0, before["pid"])
    until(back, f"{name} is back", 60)
    after = _part(victim, name)
    assert after["restarts"] == before["restarts"] + 1
    assert after["last_exit"] == "was killed by SIGKILL"
    assert until(lambda: _part(victim, name)["health"] == "SERVING", f"{name} serves", 30)
    said = victim.command("logs", "supervisor").stdout
    assert f"{name} (pid {before['pid']}) was killed by SIGKILL" in said
    assert f"{name} is back: pid {before['pid']} → {after['pid']}" in said


def test_up_clears_away_what_a_killed_supervisor_left(victim: Running) -> None:
    before = harness.pids(victim)
    os.kill(before["supervisor"], signal.SIGKILL)
    until(lambda: not psutil.pid_exists(before["supervisor"]), "the supervisor is gone", 10)
    assert victim.status()["state"] == "UNSUPERVISED"
    with engine(fails_every=0) as address:
        given = ("--upstream", address, "--deployment", "helper")
        again = victim.command("up", "--timeout", "120", *given, timeout=150)
        assert again.returncode == 0, again.stderr
    after = harness.pids(victim)
    assert not set(before.values()) & set(after.values())
    assert harness.orphans(victim) == []
    assert [each.name for each in victim.client().deployments.list()] == ["projects/default/deployments/helper"]


def test_down_leaves_nothing(victim: Running) -> None:
    done = victim.command("down")
    assert done.returncode == 0, done.stderr
    assert harness.processes_of(victim.home) == []
    assert asyncio.run(ports.taken_ports(children.service_ports(harness.settings_of(victim)))) == {}
    assert "Nothing was running" in victim.command("down").stdout


def test_one_process_serves_all_eight(victim: Running) -> None:
    up = victim.command("up", "--processes", "1", "--timeout", "120", timeout=150)
    assert up.returncode == 0, up.stderr
    report = harness.report_of(victim)
    assert {part.name: part.health for part in report.services} == dict.fromkeys(addresses.COMPONENTS, "SERVING")
    assert len({part.pid for part in report.services}) == 1
    assert victim.client().summary()
    print(f"in one process: {sum(part.memory_bytes for part in report.services) / 1e6:.1f} MB,", end=" ")
    print(f"with broker, database and supervisor {report.memory_bytes / 1e6:.1f} MB (PSS)")
    assert report.memory_bytes <= MOST_IDLE_BYTES


def _part(running: Running, name: str) -> dict[str, Any]:
    report = running.status()
    return next(part for part in [*report["services"], report["broker"]] if part["name"] == name)
