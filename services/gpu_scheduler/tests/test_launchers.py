"""What all launchers share, without a cluster: members, gangs, what is kept of work elsewhere, the helper process."""

from __future__ import annotations

import base64
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gyre_kit.db import Session

from services.gpu_scheduler import launchers, members, remote_nodes, store_nodes
from services.gpu_scheduler.hardware import CardReading, Machine
from services.gpu_scheduler.launchers import environment, gang, mirror
from services.gpu_scheduler.launchers.agent import Agent
from services.gpu_scheduler.launchers.base import Ended, LaunchFailed, Member, Ref, RemoteNode, Unreachable
from services.gpu_scheduler.launchers.gang import MemberEnd
from services.gpu_scheduler.launchers.ray import remote_node
from services.gpu_scheduler.launchers.slurm_nodes import told_node
from services.gpu_scheduler.models import Attempt, NodeState
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.test_launcher import until

HELPER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "die": os._exit(3)
    if asked["do"] == "sleep": continue
    key, value = ("failed", "no room") if asked["do"] == "fail" else ("answer", [os.getpid(), asked["with"]])
    print(json.dumps({"id": asked["id"], key: value}), flush=True)
"""
SETTINGS = Settings()


def remote(name: str, launcher_name: str = "r", cards: int = 2) -> RemoteNode:
    readings = [CardReading(index, f"{name}-{index}", "A100", 0, simulated=True) for index in range(cards)]
    return RemoteNode(Machine(name, name, "a100", 4000, 2**30, 0.0, 0, readings), f"{launcher_name}-{name}", "10.0.0.1")


def attempt_on(*nodes: str) -> Attempt:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Attempt(
        name="projects/acme/workloads/1/attempts/1", project="acme", workload="projects/acme/workloads/1", number=1,
        node=nodes[0], flavor="flavors/a100", cpu_milli=1000, memory_bytes=0, gpu=1, cpu_hour_microusd=0,
        gpu_hour_microusd=0, card_uuids=["a-0"], admit_time=now,
        members=[{"node": node, "cpu_milli": 1000, "gpu": 1, "cards": [f"{node}-0"]} for node in nodes[1:] and nodes],
    )  # fmt: skip


def test_an_admission_to_one_node_is_a_gang_of_one() -> None:
    assert members.of(attempt_on("nodes/a")) == (Member("nodes/a", cpu_milli=1000, gpu=1, cards=("a-0",)),)


def test_members_are_in_the_order_of_their_ranks() -> None:
    assert [member.node for member in members.of(attempt_on("nodes/b", "nodes/a"))] == ["nodes/b", "nodes/a"]


async def test_the_nodes_say_who_launches_and_what_they_are_called_there(session: Session) -> None:
    await remote_nodes.heard_of(session, "ray", [remote("a"), remote("b")], SETTINGS)
    attempt = attempt_on("nodes/b", "nodes/a")
    await members.place(session, attempt)
    assert attempt.launcher == "ray"
    assert [(member.place, member.host) for member in members.of(attempt)] == [("r-b", "10.0.0.1"), ("r-a", "10.0.0.1")]


async def test_a_gang_does_not_span_launchers(session: Session) -> None:
    await remote_nodes.heard_of(session, "ray", [remote("a")], SETTINGS)
    await remote_nodes.heard_of(session, "slurm", [remote("b")], SETTINGS)
    with pytest.raises(LaunchFailed, match="ray and slurm"):
        await members.place(session, attempt_on("nodes/a", "nodes/b"))
    with pytest.raises(LaunchFailed, match="no node nodes/c"):
        await members.place(session, attempt_on("nodes/a", "nodes/c"))


async def test_a_node_that_its_cluster_no_longer_counts_is_lost_and_comes_back(session: Session) -> None:
    await remote_nodes.heard_of(session, "ray", [remote("a"), remote("b")], SETTINGS)
    await remote_nodes.heard_of(session, "ray", [remote("a")], SETTINGS)
    assert {node.name: node.state for node in await store_nodes.nodes(session)} == {
        "nodes/a": NodeState.READY,
        "nodes/b": NodeState.LOST,
    }
    await remote_nodes.heard_of(session, "ray", [remote("a"), remote("b")], SETTINGS)
    assert {node.state for node in await store_nodes.nodes(session)} == {NodeState.READY}


async def test_a_cluster_cannot_take_the_name_of_anothers_node(session: Session) -> None:
    await remote_nodes.heard_of(session, "ray", [remote("a")], SETTINGS)
    await remote_nodes.heard_of(session, "slurm", [remote("a", "s")], SETTINGS)
    (node,) = await store_nodes.nodes(session)
    assert (node.launcher, node.place) == ("ray", "r-a")


def test_a_gang_that_went_well_went_well_with_all() -> None:
    ends = {rank: MemberEnd(Ended(0, cpu_seconds=1.0, peak_memory_bytes=5), 100.0 + rank) for rank in range(3)}
    assert gang.together(ends, "") == Ended(0, cpu_seconds=3.0, peak_memory_bytes=15)
    assert not gang.is_doomed(ends, [])


def test_a_gang_tells_of_the_first_that_failed_not_of_those_that_were_killed_for_it() -> None:
    ends = {
        0: MemberEnd(Ended(-9), 102.0),
        1: MemberEnd(Ended(7, last_words="out of memory"), 101.0),
        2: MemberEnd(Ended(), 0.0),
    }
    assert gang.is_doomed({1: ends[1]}, [])
    together = gang.together(ends, "")
    assert (together.code, together.last_words) == (7, "rank 1: out of memory")
    assert gang.together(ends, "nodes/b").lost_node == "nodes/b"


def test_work_alone_is_told_of_no_gang() -> None:
    assert environment.of_rank(0, 1, "a", 1) == {}
    told = environment.of_rank(1, 2, "10.0.0.1", 29500)
    wanted = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    assert wanted.items() <= told.items()
    assert told["NODE_RANK"] == "1"


def test_what_was_seen_of_work_elsewhere_stays_here(tmp_path: Path) -> None:
    ref = Ref("W", 1, tmp_path / "1", (Member("a"), Member("b")))
    mirror.prepare(ref)
    assert mirror.write(ref, 1, {"stderr.log": base64.b64encode(b"one\n").decode()}, None)
    assert mirror.offsets(ref) == [{"stdout.log": 0, "stderr.log": 0}, {"stdout.log": 0, "stderr.log": 4}]
    assert not mirror.write(ref, 1, {"stderr.log": ""}, base64.b64encode(b"{}").decode())
    assert (tmp_path / "1" / "members" / "1" / "result.json").read_text() == "{}"
    assert mirror.end_of(ref) is None
    mirror.end(ref, Ended(3, last_words="so"))
    assert mirror.end_of(ref) == Ended(3, last_words="so")


@pytest.fixture
def helper() -> Iterator[Agent]:
    agent = Agent([sys.executable, "-c", HELPER])
    yield agent
    agent.close()


def test_a_helper_process_is_started_with_the_first_question(helper: Agent) -> None:
    assert helper.pid is None
    assert helper.ask("say", 10, name="é") == [helper.pid, {"name": "é"}]
    with pytest.raises(LaunchFailed, match="no room"):
        helper.ask("fail", 10)


def test_a_helper_process_that_dies_leaves_nobody_waiting_and_is_started_again(helper: Agent) -> None:
    first = helper.ask("say", 10)[0]
    with pytest.raises(Unreachable, match="exit code 3"):
        helper.ask("die", 10)
    second = until(lambda: pid_of(helper))
    assert second != first
    os.kill(second, signal.SIGKILL)
    assert until(lambda: pid_of(helper)) != second


def pid_of(helper: Agent) -> int | None:
    """None while it is not started again yet."""
    with suppress(Unreachable):
        return int(helper.ask("say", 10)[0])
    return None


def test_a_helper_process_that_is_silent_is_waited_for_once(helper: Agent) -> None:
    with pytest.raises(Unreachable, match="no answer to sleep"):
        helper.ask("sleep", 0.1)
    with pytest.raises(Unreachable, match="nothing was heard of it since"):
        helper.ask("say", 10)
    assert helper.ask("say", 10, probe=True)
    assert helper.ask("say", 10)


def test_a_helper_process_that_cannot_start_is_not_started_over_and_over() -> None:
    agent = Agent([sys.executable, "-c", "raise SystemExit(9)"])
    with pytest.raises(Unreachable, match=r"exit code 9|is gone"):
        agent.ask("say", 10)
    with pytest.raises(Unreachable, match=r"tried again soon|is gone"):
        agent.ask("say", 10)
    agent.close()


def test_a_ray_node_without_a_name_of_ours_goes_by_its_id() -> None:
    told = {"id": "ab" * 28, "host": "10.0.0.7", "hostname": "seven", "labels": {"gyre.dev/node": "Not A Slug"}}
    node = remote_node(told | {"resources": {"CPU": 8, "GPU": 2, "memory": 1e9, "accelerator_type:H100": 1}})
    assert (node.machine.id, node.machine.flavor, node.machine.simulated) == ("ray-abababababab", "h100", False)
    assert (node.machine.cpu_milli, len(node.machine.cards)) == (8000, 2)


def test_a_slurm_node_that_is_drained_takes_no_work() -> None:
    line = "NodeName=gpu7 CPUTot=64 Gres=gpu:h100:8(S:0-1) NodeAddr=10.0.0.7 RealMemory=1000 State={} Partitions=a,b  "
    node = told_node(line.format("MIXED"), "b")
    assert node
    assert (node.machine.id, node.machine.flavor, len(node.machine.cards)) == ("slurm-gpu7", "h100", 8)
    assert not node.machine.simulated
    for state in ("MIXED+DRAIN", "IDLE*", "DOWN"):
        assert told_node(line.format(state), "b") is None
    assert told_node(line.format("IDLE"), "c") is None


def test_who_launches_follows_from_the_settings(tmp_path: Path) -> None:
    assert list(launchers.of(Settings(home=tmp_path))) == ["local"]
    given = Settings(home=tmp_path, ray_address="head:6379", slurm_partition="gpu")
    assert list(launchers.of(given)) == ["local", "ray", "slurm"]
    with pytest.raises(ValueError, match="JSON object"):
        Settings(ray_runtime_env="[]")
