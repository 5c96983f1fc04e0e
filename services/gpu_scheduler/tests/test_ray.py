"""Work on a real Ray cluster of four nodes of this machine, whose cards are simulated. Wants the extra `ray`:

.venv/bin/python -m pip install -r requirements/ray.lock
.venv/bin/python -m pytest -m peers services/gpu_scheduler/tests/test_ray.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from gyre.gpu_scheduler.v1 import node_service_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App, Context
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.names import last
from gyre_kit.reconcile import Reconciler
from gyre_kit.render import enum_name
from gyre_kit.rpc import Clients
from gyre_kit.testing import Platform, eventually

from services.gpu_scheduler import fleet, main, reconcile, store
from services.gpu_scheduler.launchers.base import Ended, LaunchFailed, Member, Order, Ref
from services.gpu_scheduler.launchers.environment import worker_environment
from services.gpu_scheduler.launchers.ray import Ray
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import MODULE, OVERRIDES, cancel_all, ensure, log_of, runs, until
from services.gpu_scheduler.tests.test_launcher import until as soon

pytestmark = pytest.mark.peers


@dataclass(frozen=True)
class RayCluster:
    address: str
    raylets: dict[str, int]
    work: Path

    def kill(self, node: str) -> None:
        """The node's raylet with all that it started, at once."""
        raylet = psutil.Process(self.raylets[node])
        for process in [*raylet.children(recursive=True), raylet]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("ray")
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "services.gpu_scheduler.tests.ray_nodes"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert process.stdin and process.stdout
    said = json.loads(process.stdout.readline() or b"{}")
    assert said, (folder / "log").read_text()[-2000:]
    yield RayCluster(said["address"], said["raylets"], folder / "work")
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="module")
def ray(cluster: RayCluster) -> Iterator[Ray]:
    launcher = Ray(cluster.address, str(cluster.work))
    yield launcher
    launcher.close()


@pytest.fixture
def order(ray: Ray, tmp_path: Path) -> Iterator[Callable[..., Order]]:
    """An order for the nodes that are named, one card on each."""
    made: list[Order] = []
    places = {node.machine.id: node for node in ray.nodes()}

    def make(*nodes: str, attempt: int = 1, **spec: Any) -> Order:
        members = tuple(
            Member(f"nodes/{name}", places[name].place, places[name].host, cpu_milli=1000, gpu=1) for name in nodes
        )
        ref = Ref(tmp_path.name.replace("_", "")[:40], attempt, tmp_path / str(attempt), members)
        environment = worker_environment(os.environ, Settings(home=tmp_path), cpu_milli=1000, traceparent="")
        made.append(Order(ref, MODULE, {"attempt": attempt} | spec, "a-token", environment))
        return made[-1]

    yield make
    for one in made:
        soon(lambda one=one: ray.stop(one.ref, ask=False, kill=True))


def folder_of(cluster: RayCluster, order: Order, rank: int = 0) -> Path:
    return cluster.work / order.ref.workload / str(order.ref.attempt) / str(rank)


def worker_of(cluster: RayCluster, order: Order, rank: int = 0) -> int:
    folder = folder_of(cluster, order, rank)
    soon(lambda: (folder / "waiting").exists())
    return int((folder / "runs").read_text().split()[-1])


def test_its_nodes_are_told_with_their_kinds_and_as_simulated(ray: Ray) -> None:
    found = {
        node.machine.id: (node.machine.flavor, len(node.machine.cards), node.machine.simulated) for node in ray.nodes()
    }
    assert found == {
        "sim-0": ("a100", 4, True),
        "sim-1": ("h100", 2, True),
        "sim-2": ("l4", 1, True),
        "sim-3": ("a100", 4, True),
    }


def test_an_attempt_leaves_its_exit_code_and_its_logs_here(ray: Ray, order: Callable[..., Order]) -> None:
    one = order("sim-1", do="exit", code=3)
    ray.start(one)
    ended: Ended = soon(lambda: ray.look(one.ref))
    assert (ended.code, ended.last_words) == (3, "the last word")
    assert ended.cpu_seconds > 0
    assert (one.ref.folder / "stdout.log").read_text() == "out: it begins\n"
    assert ray.look(one.ref) == ended


def test_a_second_launch_finds_the_work_of_the_first(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    one = order("sim-0", do="wait")
    first = ray.start(one)
    worker_of(cluster, one)
    other = Ray(cluster.address, str(cluster.work))
    assert other.start(one) == first
    other.close()
    assert len((folder_of(cluster, one) / "runs").read_text().split()) == 1


def test_a_kill_of_the_helper_process_loses_nothing(ray: Ray, order: Callable[..., Order], cluster: RayCluster) -> None:
    one = order("sim-0", do="wait")
    ray.start(one)
    worker = worker_of(cluster, one)
    assert ray.agent.pid
    os.kill(ray.agent.pid, signal.SIGKILL)
    assert soon(lambda: answers(ray)) and ray.look(one.ref) is None
    assert runs(worker)


def test_work_outlives_its_actor_and_is_found_by_the_next(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    one = order("sim-0", do="wait")
    ray.start(one)
    worker = worker_of(cluster, one)
    shim = psutil.Process(worker).parent()
    assert shim and shim.parent()
    shim.parent().kill()  # type: ignore[union-attr]
    assert ray.look(one.ref) is None
    assert runs(worker)
    os.kill(worker, signal.SIGKILL)
    assert soon(lambda: ray.look(one.ref)).code == -signal.SIGKILL


def test_a_stop_asks_first_and_kills_what_ignores_it(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    one = order("sim-0", do="wait", stubborn=True)
    ray.start(one)
    worker = worker_of(cluster, one)
    assert ray.stop(one.ref, ask=True, kill=False) is None
    assert ray.stop(one.ref, ask=False, kill=False) is None
    assert soon(lambda: ray.stop(one.ref, ask=False, kill=True)) is not None
    assert not runs(worker)


def test_what_was_stopped_before_its_launch_never_starts(ray: Ray, order: Callable[..., Order]) -> None:
    one = order("sim-0", do="wait")
    assert ray.stop(one.ref, ask=True, kill=False) == Ended()
    with pytest.raises(LaunchFailed, match="stopped"):
        ray.start(one)


@pytest.mark.parametrize("actor_lives", [True, False])
def test_a_higher_attempt_ends_a_lower_one_first(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster, actor_lives: bool
) -> None:
    low, high = order("sim-0", do="wait"), order("sim-3", attempt=2, do="wait")
    ray.start(low)
    worker = worker_of(cluster, low)
    if not actor_lives:
        psutil.Process(worker).parents()[1].kill()
    ray.start(high)
    assert not runs(worker)
    worker_of(cluster, high)
    with pytest.raises(LaunchFailed):
        ray.start(low)


def test_a_gang_learns_its_ranks_and_finds_its_master(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    """Each rank adds what all have: a sum over TCP with rank 0, by the variables that torchrun gives."""
    one = order("sim-0", "sim-1", do="sum")
    ray.start(one)
    assert soon(lambda: ray.look(one.ref)).code == 0
    assert json.loads((one.ref.folder / "result.json").read_text()) == {"sum": 3, "world_size": 2}
    assert (one.ref.folder / "members" / "1" / "stderr.log").read_text() == "attempt 1 begins\n"


def test_a_gang_fails_as_a_whole_with_the_code_of_the_first_that_did(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    one = order("sim-0", "sim-1", do="wait")
    ray.start(one)
    workers = [worker_of(cluster, one, rank) for rank in (0, 1)]
    os.kill(workers[1], signal.SIGUSR1)
    ended: Ended = soon(lambda: ray.look(one.ref))
    assert ended.code == -signal.SIGUSR1
    assert ended.last_words.startswith("rank 1: ")
    assert not any(runs(worker) for worker in workers)


def test_what_finds_no_room_says_what_it_wanted(ray: Ray, order: Callable[..., Order]) -> None:
    one = order("sim-2", do="wait")
    ray.start(one)
    other = replace(one, ref=replace(one.ref, workload="another"))
    with pytest.raises(LaunchFailed, match="no room"):
        ray.start(other)


def answers(ray: Ray) -> bool:
    with suppress(OSError):
        return bool(ray.nodes())
    return False


@pytest.fixture(scope="module")
def app(platform: Platform, cluster: RayCluster) -> App:
    given = {"ray_address": cluster.address, "ray_work_folder": str(cluster.work)}
    return replace(main.app, settings=platform.settings(Settings, **OVERRIDES, **given))


@pytest.fixture
async def scheduler(
    platform: Platform, app: App, workloads: WorkloadServiceStub, clients: Clients
) -> AsyncIterator[Context]:
    async with platform.serving(app) as (context,):
        await all_nodes(clients)
        yield context
        await cancel_all(workloads)
    await platform.empty("gpu_scheduler")


async def test_a_job_runs_on_a_node_of_the_cluster_and_its_result_comes_back(
    scheduler: Context, workloads: WorkloadServiceStub, clients: Clients
) -> None:
    name = await ensure(workloads, "JOB", 1000, gpu=4, do="result", text='{"rows": 3}')
    done = await until(workloads, name, "FINISHED")
    assert json.loads(done.result_json) == {"rows": 3}
    assert done.node in ("nodes/sim-0", "nodes/sim-3")
    assert done.flavor == "flavors/a100"
    assert b"attempt 1 begins" in await log_of(workloads, name)
    node = await clients.stub(NodeServiceStub).GetNode(node_service_pb2.GetNodeRequest(name=done.node))
    assert node.simulated and all(card.simulated for card in node.cards)


async def test_a_gang_that_was_admitted_to_two_nodes_runs_on_both(
    platform: Platform, app: App, workloads: WorkloadServiceStub, clients: Clients
) -> None:
    """The members are written by hand, as an admission of gangs writes them, between admission and launch."""
    steps = [Reconciler(fleet.hear_of_clusters), Reconciler(reconcile.admit, every=0.1)]
    async with platform.serving(replace(app, reconcilers=steps)) as (context,):
        await all_nodes(clients)
        name = await ensure(workloads, "JOB", 1000, gpu=1, do="sum")
        await until(workloads, name, "ADMITTED")
        with acting_as(SYSTEM):
            async with context.db.transaction() as session:
                attempt = await store.attempt(session, name, 1)
                assert attempt
                attempt.members = [
                    {"node": node, "cpu_milli": 1000, "gpu": 1} for node in ("nodes/sim-3", "nodes/sim-0")
                ]
    async with platform.serving(app):
        assert json.loads((await until(workloads, name, "FINISHED")).result_json) == {"sum": 3, "world_size": 2}
        assert b"attempt 1 begins" in await log_of(workloads, name, rank=1)
    await platform.empty("gpu_scheduler")


async def test_a_replica_answers_at_its_node(scheduler: Context, workloads: WorkloadServiceStub) -> None:
    name = await ensure(workloads, "REPLICA", 250, gpu=1, do="serve")
    running = await until(workloads, name, "RUNNING")
    assert not running.address.startswith("127.")


async def test_work_is_adopted_after_the_scheduler_came_back(
    platform: Platform, app: App, workloads: WorkloadServiceStub, cluster: RayCluster, clients: Clients
) -> None:
    async with platform.serving(app):
        await all_nodes(clients)
        name = await ensure(workloads, cpu=1000, gpu=1, do="wait")
        await until(workloads, name, "RUNNING")
        pid = await worker(cluster, name)
    assert runs(pid)
    async with platform.serving(app):
        assert (await until(workloads, name, "RUNNING")).attempt == 1
        os.kill(pid, signal.SIGKILL)
        second = await until(
            workloads, name, "RUNNING", attempt=2, seconds=90
        )  # a lease of the first may hold for 30 s
        assert second.exit_code == -signal.SIGKILL
        await cancel_all(workloads)
    await platform.empty("gpu_scheduler")


async def test_work_on_a_node_that_dies_goes_to_another_and_no_fault_is_counted(
    scheduler: Context, workloads: WorkloadServiceStub, cluster: RayCluster, clients: Clients
) -> None:
    name = await ensure(workloads, cpu=1000, gpu=4, most=1, do="wait")
    first = await until(workloads, name, "RUNNING")
    pid = await worker(cluster, name)
    cluster.kill(last(first.node))
    second = await until(workloads, name, "RUNNING", attempt=2)
    assert second.node != first.node
    assert "was lost with its node" in second.failure_message
    assert not runs(pid)

    async def is_lost() -> bool:
        node = await clients.stub(NodeServiceStub).GetNode(node_service_pb2.GetNodeRequest(name=first.node))
        return enum_name(node, "state") == "LOST"

    await eventually(is_lost)
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    await until(workloads, name, "CANCELLED")


async def all_nodes(clients: Clients) -> None:
    """This machine and the four of the cluster."""

    async def are_there() -> bool:
        return len((await clients.stub(NodeServiceStub).ListNodes(node_service_pb2.ListNodesRequest())).nodes) == 5

    await eventually(are_there)


async def worker(cluster: RayCluster, name: str, attempt: int = 1) -> int:
    folder = cluster.work / last(name) / str(attempt) / "0"

    async def waits() -> bool:
        return (folder / "waiting").exists()

    await eventually(waits)
    return int((folder / "runs").read_text().split()[0])


def test_a_raylet_that_is_gone_takes_the_work_with_it(
    ray: Ray, order: Callable[..., Order], cluster: RayCluster
) -> None:
    """Only the raylet is killed: the work is on its leash. The last test, for it costs a node."""
    one = order("sim-1", "sim-2", do="wait")
    ray.start(one)
    workers = [worker_of(cluster, one, rank) for rank in (0, 1)]
    os.kill(cluster.raylets["sim-1"], signal.SIGKILL)
    ended: Ended = soon(lambda: ray.look(one.ref))
    assert ended.lost_node == "nodes/sim-1"
    assert not any(runs(worker) for worker in workers)
