"""Work on a real Slurm cluster of three nodes of this machine, whose cards are simulated. Wants to be root, and Debian's:

apt-get install slurm-wlm munge
.venv/bin/python -m pytest -m peers services/gpu_scheduler/tests/test_slurm.py
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from gyre.gpu_scheduler.v1 import node_service_pb2
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App, Context
from gyre_kit.rpc import Clients
from gyre_kit.testing import Platform, eventually

from services.gpu_scheduler import main
from services.gpu_scheduler.launchers.base import Ended, LaunchFailed, Member, Order, Ref
from services.gpu_scheduler.launchers.environment import worker_environment
from services.gpu_scheduler.launchers.mirror import folder_of
from services.gpu_scheduler.launchers.slurm import Slurm
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests import slurm_nodes
from services.gpu_scheduler.tests.calls import MODULE, OVERRIDES, cancel_all, ensure, log_of, runs, until
from services.gpu_scheduler.tests.slurm_nodes import SlurmCluster
from services.gpu_scheduler.tests.test_launcher import until as soon

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    if not slurm_nodes.is_installed():
        pytest.skip("slurm-wlm and munge are not installed, or this is not root")
    with pytest.MonkeyPatch.context() as patch, slurm_nodes.running(tmp_path_factory.mktemp("slurm")) as cluster:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        yield cluster


@pytest.fixture(scope="module")
def slurm(cluster: SlurmCluster) -> Slurm:
    return Slurm("main")


@pytest.fixture
def order(slurm: Slurm, tmp_path: Path) -> Iterator[Callable[..., Order]]:
    """An order for the nodes that are named, one card on each."""
    made: list[Order] = []
    places = {node.place: node for node in slurm.nodes()}

    def make(*nodes: str, attempt: int = 1, gpu: int = 1, **spec: Any) -> Order:
        members = tuple(
            Member(f"nodes/{name}", name, places[name].host, cpu_milli=1000, memory_bytes=2**27, gpu=gpu)
            for name in nodes
        )
        ref = Ref(tmp_path.name.replace("_", "")[:40], attempt, tmp_path / str(attempt), members)
        environment = worker_environment(os.environ, Settings(home=tmp_path), cpu_milli=1000, traceparent="")
        made.append(Order(ref, MODULE, {"attempt": attempt} | spec, "a-token", environment))
        return made[-1]

    yield make
    for one in made:
        soon(lambda one=one: slurm.stop(one.ref, ask=False, kill=True))


def worker_of(order: Order, rank: int = 0) -> int:
    folder = folder_of(order.ref, rank)
    soon(lambda: (folder / "waiting").exists())
    return int((folder / "runs").read_text().split()[-1])


def test_its_nodes_are_told_with_their_cards_and_as_simulated(slurm: Slurm) -> None:
    found = {
        node.place: (node.machine.flavor, len(node.machine.cards), node.machine.simulated) for node in slurm.nodes()
    }
    assert found == {"slurm-0": ("a100", 4, True), "slurm-1": ("a100", 4, True), "slurm-2": ("l4", 1, True)}
    assert Slurm("another").nodes() == []


def test_an_attempt_leaves_its_exit_code_and_its_logs(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-0", do="exit", code=3)
    slurm.start(one)
    ended: Ended = soon(lambda: slurm.look(one.ref))
    assert (ended.code, ended.last_words) == (3, "the last word")
    assert ended.cpu_seconds > 0
    assert (one.ref.folder / "stdout.log").read_text() == "out: it begins\n"
    assert not (one.ref.folder / "credential").exists()
    seen = json.loads((one.ref.folder / "environment.json").read_text())
    assert seen["CUDA_VISIBLE_DEVICES"] in ("0", "1", "2", "3")
    assert not [name for name in seen if name.startswith("SLURM_")]
    assert seen["GYRE_OBJECT_STORE"].startswith("file://")


def test_a_second_launch_finds_the_job_of_the_first(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-0", do="wait")
    first = slurm.start(one)
    assert Slurm("main").start(one) == first
    worker_of(one)
    assert Slurm("main").start(one) == first
    assert Slurm("main").look(one.ref) is None
    assert len((one.ref.folder / "runs").read_text().split()) == 1


def test_a_second_job_of_one_attempt_does_not_begin(slurm: Slurm, order: Callable[..., Order]) -> None:
    """As two schedulers would submit it that ask in the same moment."""
    from services.gpu_scheduler.launchers.slurm import _options, _script

    one = order("slurm-0", do="wait")
    slurm.start(one)
    worker_of(one)
    second = slurm._run("sbatch", *_options(one.ref, "main"), given=_script(one.ref)).strip()
    soon(lambda: slurm._state(second).state == "FAILED")
    assert slurm.look(one.ref) is None
    assert len((one.ref.folder / "runs").read_text().split()) == 1


def test_a_stop_asks_first(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-1", do="wait")
    slurm.start(one)
    worker = worker_of(one)
    assert slurm.stop(one.ref, ask=True, kill=False) is None
    ended: Ended = soon(lambda: slurm.stop(one.ref, ask=False, kill=False))
    assert (ended.code, ended.asked_to_stop) == (-signal.SIGTERM, True)
    assert not runs(worker)


def test_what_ignores_the_request_is_killed(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-1", do="wait", stubborn=True)
    slurm.start(one)
    worker = worker_of(one)
    assert slurm.stop(one.ref, ask=True, kill=False) is None
    assert slurm.stop(one.ref, ask=False, kill=False) is None
    assert soon(lambda: slurm.stop(one.ref, ask=False, kill=True)) is not None
    assert not runs(worker)


def test_what_was_stopped_before_its_launch_never_starts(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-0", do="wait")
    assert slurm.stop(one.ref, ask=True, kill=False) == Ended()
    with pytest.raises(LaunchFailed, match="stopped"):
        slurm.start(one)


def test_a_job_that_still_waits_in_slurms_queue_is_withdrawn(slurm: Slurm, order: Callable[..., Order]) -> None:
    first = order("slurm-2", do="wait")
    slurm.start(first)
    worker_of(first)
    second = order("slurm-2", attempt=2, do="wait")
    slurm.start(second)
    assert slurm.look(second.ref) is None
    assert soon(lambda: slurm.stop(second.ref, ask=True, kill=False)) == Ended()
    assert not (second.ref.folder / "runs").exists()


def test_a_gang_learns_its_ranks_and_finds_its_master(slurm: Slurm, order: Callable[..., Order]) -> None:
    """Rank 0 is on the node that the order names first, whatever Slurm's own order is."""
    one = order("slurm-1", "slurm-0", do="sum")
    slurm.start(one)
    assert soon(lambda: slurm.look(one.ref)).code == 0
    assert json.loads((one.ref.folder / "result.json").read_text()) == {"sum": 3, "world_size": 2}
    assert (folder_of(one.ref, 1) / "stderr.log").read_text() == "attempt 1 begins\n"


def test_a_gang_fails_as_a_whole_with_the_code_of_the_first_that_did(slurm: Slurm, order: Callable[..., Order]) -> None:
    one = order("slurm-0", "slurm-1", do="wait")
    slurm.start(one)
    workers = [worker_of(one, rank) for rank in (0, 1)]
    os.kill(workers[1], signal.SIGUSR1)
    assert soon(lambda: slurm.look(one.ref)).code == -signal.SIGUSR1
    assert not any(runs(worker) for worker in workers)


def test_what_slurm_refuses_says_so_in_its_words(slurm: Slurm, order: Callable[..., Order]) -> None:
    with pytest.raises(LaunchFailed, match="sbatch refused it"):
        slurm.start(order("slurm-2", gpu=8, do="wait"))


def test_a_job_whose_node_takes_no_work_any_more_is_withdrawn_and_its_node_was_lost(
    slurm: Slurm, order: Callable[..., Order]
) -> None:
    one = order("slurm-1", do="wait")
    slurm._run("scontrol", "update", "NodeName=slurm-1", "State=DRAIN", "Reason=test")
    try:
        slurm.start(one)
        assert soon(lambda: slurm.look(one.ref)).lost_node == "nodes/slurm-1"
        assert slurm._jobs(one.ref) == []
    finally:
        slurm._run("scontrol", "update", "NodeName=slurm-1", "State=RESUME")
    assert not (one.ref.folder / "runs").exists()


@pytest.fixture
async def scheduler(
    platform: Platform, cluster: SlurmCluster, workloads: WorkloadServiceStub, clients: Clients
) -> AsyncIterator[Context]:
    app: App = replace(main.app, settings=platform.settings(Settings, **OVERRIDES, slurm_partition="main"))
    async with platform.serving(app) as (context,):
        stub = clients.stub(NodeServiceStub)

        async def all_nodes() -> bool:
            return len((await stub.ListNodes(node_service_pb2.ListNodesRequest())).nodes) == 4

        await eventually(all_nodes)
        yield context
        await cancel_all(workloads)
    await platform.empty("gpu_scheduler")


async def test_a_job_runs_on_the_cluster_and_its_result_comes_back(
    scheduler: Context, workloads: WorkloadServiceStub
) -> None:
    name = await ensure(workloads, "JOB", 1000, gpu=4, do="result", text='{"rows": 3}')
    done = await until(workloads, name, "FINISHED")
    assert json.loads(done.result_json) == {"rows": 3}
    assert done.node in ("nodes/slurm-slurm-0", "nodes/slurm-slurm-1")
    assert b"attempt 1 begins" in await log_of(workloads, name)


def test_a_node_that_dies_is_told_from_work_that_failed(
    slurm: Slurm, order: Callable[..., Order], cluster: SlurmCluster
) -> None:
    """slurmd and all that it started are killed; Slurm counts the node as down after 10 s. The last test, for it costs one."""
    one = order("slurm-0", do="wait")
    slurm.start(one)
    worker = psutil.Process(worker_of(one))
    stepds = [each for each in psutil.process_iter(["name", "cmdline"]) if "slurmstepd" in str(each.info["cmdline"])]
    cluster.kill("slurm-0")
    for each in [*stepds, *worker.parents()[:1], worker]:
        each.kill()
    assert soon(lambda: slurm.look(one.ref)).lost_node == "nodes/slurm-0"
