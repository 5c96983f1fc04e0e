"""Nodes join, fall silent, are lost, gone and fenced. No process is started here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gyre_kit.db import Session
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import ManualClock, outbox_of

from services.gpu_scheduler import maintenance, nodes, service, silence, store, store_nodes, submission
from services.gpu_scheduler.cards import CardReading, Finding
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.decisions.amounts import CARD as WHOLE
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.hardware import Machine
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import Node, NodeState, Workload
from services.gpu_scheduler.nodes import NodeNameTaken
from services.gpu_scheduler.tests.calls import cycle
from services.gpu_scheduler.tests.test_service import SETTINGS, TRAINER, ensured, launched

GIB = 1024**3
CARDS = [CardReading(index, f"GPU-{index}", "NVIDIA H100 80GB HBM3", 80 * GIB, maker="nvidia") for index in range(2)]
MACHINE = Machine("a", "a", "h100", 2000, 24 * GIB, 0.0, 0, cards=CARDS, machine_id="one", boot_id="1")
XID = Finding("XID_79", "It has fallen off the bus.", key="XID_79:1")
ON_A_CARD = replace(TRAINER, requests=Amount(500, GIB, WHOLE))


@pytest.fixture
async def node(session: Session) -> Node:
    return await nodes.heard_of(session, MACHINE, SETTINGS)


async def heard(session: Session, *cards: CardReading, **changes: object) -> Node:
    return await nodes.heard_of(session, replace(MACHINE, cards=list(cards), **changes), SETTINGS)  # type: ignore[arg-type]


async def stay_silent(session: Session, clock: ManualClock, seconds: int) -> silence.Silence:
    """Looks every five seconds, as the service does."""
    found = silence.Silence()
    for _ in range(0, seconds, 5):
        clock.advance(seconds=5)
        now = await silence.look(session, SETTINGS)
        found.lost += now.lost
        found.gone += now.gone
    return found


async def working(session: Session, wanted: submission.Wanted = ON_A_CARD) -> Workload:
    workload = await ensured(session, wanted)
    await cycle(session)
    await launched(session, workload)
    return workload


async def stopped(session: Session, workload: Workload) -> None:
    attempt = await store.attempt(session, workload.name, workload.attempt)
    assert attempt is not None
    await service.attempt_ended(session, workload, attempt, Ended(143), SETTINGS)


async def events_about(session: Session, name: str) -> list[str]:
    return [event for event, subject in await outbox_of(session) if subject == name]


# silence


async def test_a_node_joins_once_and_is_lost_when_it_falls_silent(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    await heard(session, *CARDS)
    assert (await stay_silent(session, clock, 55)).lost == []
    assert (await stay_silent(session, clock, 5)).lost == ["nodes/a"]
    assert (await stay_silent(session, clock, 5)).lost == []
    assert (node.state, workload.state) == (NodeState.LOST, "RUNNING")
    await heard(session, *CARDS)
    assert await events_about(session, "nodes/a") == ["NodeJoined", "NodeLost", "NodeJoined"]
    assert (node.state, workload.state, workload.attempt) == (NodeState.READY, "RUNNING", 1)


@pytest.mark.parametrize("hours", [1, -1, 24])
async def test_a_clock_that_jumps_loses_no_node(session: Session, clock: ManualClock, node: Node, hours: int) -> None:
    await heard(session, *CARDS)
    clock.advance(hours=hours)
    found = await silence.look(session, SETTINGS)
    assert (found.lost, node.state) == ([], NodeState.READY)
    assert (await stay_silent(session, clock, 40)).lost == []
    assert (await stay_silent(session, clock, 20)).lost == ["nodes/a"]


async def test_the_work_of_a_node_that_is_gone_for_good_is_queued_again_and_no_fault_is_counted(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    await stay_silent(session, clock, 595)
    assert (workload.state, node.state) == ("RUNNING", NodeState.LOST)
    assert (await stay_silent(session, clock, 10)).gone == ["nodes/a"]
    attempt = await store.attempt(session, workload.name, 1)
    assert attempt is not None
    assert (workload.state, workload.faults, node.state) == ("QUEUED", 0, NodeState.GONE)
    assert (attempt.end_reason, attempt.unconfirmed) == ("NODE_LOST", True)
    assert [card.workload for card in await store_nodes.cards(session, ["nodes/a"])] == ["", ""]
    assert (await events_about(session, "nodes/a"))[-1] == "NodeGone"
    assert (await events_about(session, workload.name))[-1] == "WorkloadPreempted"
    assert (await stay_silent(session, clock, 60)).gone == []


async def test_a_node_that_was_gone_is_fenced_before_it_takes_work(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    await stay_silent(session, clock, 610)
    await heard(session, *CARDS)
    assert node.state == NodeState.FENCING
    assert (await cycle(session)).admitted == 0
    await silence.fenced(session, "nodes/a")
    assert node.state == NodeState.FENCING
    ((row, attempt),) = await store_nodes.unconfirmed_on(session, "nodes/a")
    assert (row.uid, attempt.number) == (workload.uid, 1)
    await store_nodes.confirm(session, attempt.name)
    await silence.fenced(session, "nodes/a")
    assert node.state == NodeState.READY
    assert (await events_about(session, "nodes/a"))[-2:] == ["NodeGone", "NodeJoined"]
    await cycle(session)
    assert (workload.state, workload.attempt) == ("ADMITTED", 2)


async def test_what_was_to_be_cancelled_on_a_node_that_is_gone_is_cancelled(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    await service.cancel(session, workload.name)
    await stay_silent(session, clock, 610)
    assert workload.state == "CANCELLED"


async def test_a_forgotten_node_frees_its_name_and_is_fenced_all_the_same(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    with pytest.raises(silence.NodeStillHeard):
        await silence.forget(session, node)
    await stay_silent(session, clock, 65)
    await silence.forget(session, node)
    assert workload.state == "QUEUED"
    assert await store_nodes.find_node(session, "nodes/a") is None
    again = await heard(session, *CARDS, machine_id="another")
    assert again.state == NodeState.FENCING


# names


async def test_a_second_machine_of_the_same_name_is_refused_until_the_first_is_gone(
    session: Session, clock: ManualClock, node: Node
) -> None:
    with pytest.raises(NodeNameTaken):
        await heard(session, *CARDS, machine_id="two")
    await stay_silent(session, clock, 65)
    with pytest.raises(NodeNameTaken):
        await heard(session, *CARDS, machine_id="two")
    await stay_silent(session, clock, 600)
    assert (await heard(session, *CARDS, machine_id="two")).machine_id == "two"


async def test_a_reader_that_knows_no_machine_id_is_believed(session: Session, node: Node) -> None:
    assert (await heard(session, *CARDS, machine_id="")).machine_id == "one"


# operators


async def test_a_cordoned_node_takes_no_work_and_lets_what_it_has_go_on(
    session: Session, clock: ManualClock, node: Node
) -> None:
    workload = await working(session)
    await maintenance.want(session, "nodes/a", NodeState.CORDONED)
    waiting = await ensured(session, ON_A_CARD)
    assert (await cycle(session)).admitted == 0
    assert await maintenance.move_work(session) == []
    assert (workload.state, node.state) == ("RUNNING", NodeState.CORDONED)
    await maintenance.want(session, "nodes/a", NodeState.READY)
    await cycle(session)
    assert waiting.state == "ADMITTED"
    assert await events_about(session, "nodes/a") == ["NodeJoined", "NodeChanged", "NodeChanged"]


async def test_a_drained_nodes_work_is_preempted_and_waits_again(session: Session, node: Node) -> None:
    workload = await working(session)
    await maintenance.want(session, "nodes/a", NodeState.DRAINING)
    assert await maintenance.move_work(session) == [workload.name]
    assert await maintenance.move_work(session) == []
    assert (workload.state, workload.stop_reason) == ("STOPPING", "NODE_DRAINED")
    await stopped(session, workload)
    assert (workload.state, workload.faults) == ("QUEUED", 0)
    assert (await cycle(session)).admitted == 0


async def test_what_an_operator_wants_outlasts_a_loss_and_a_restart(
    session: Session, clock: ManualClock, node: Node
) -> None:
    await maintenance.want(session, "nodes/a", NodeState.CORDONED)
    await stay_silent(session, clock, 65)
    assert node.state == NodeState.LOST
    await heard(session, *CARDS, boot_id="2")
    assert node.state == NodeState.CORDONED


async def test_a_lost_node_that_is_cordoned_stays_lost_until_it_is_heard_of(
    session: Session, clock: ManualClock, node: Node
) -> None:
    await stay_silent(session, clock, 65)
    await maintenance.want(session, "nodes/a", NodeState.DRAINING)
    assert node.state == NodeState.LOST
    await heard(session, *CARDS)
    assert node.state == NodeState.DRAINING


async def test_labels_are_kept_and_bad_ones_are_refused(session: Session, node: Node) -> None:
    labelled = {"gyre.dev/zone": "a", "rack": ""}
    await maintenance.update(session, "nodes/a", ["labels"], etag="", display_name="", labels=labelled)
    await heard(session, *CARDS)
    assert node.labels == labelled
    for bad in ({"": "a"}, {"a b": "c"}, {"a": "b c"}, {"a": "x" * 64}, {f"n{i}": "" for i in range(65)}):
        with pytest.raises(maintenance.BadNodeLabel):
            await maintenance.update(session, "nodes/a", ["labels"], etag="", display_name="", labels=bad)
    with pytest.raises(FieldImmutable):
        await maintenance.update(session, "nodes/a", ["gpu"], etag="", display_name="", labels={})
    with pytest.raises(EtagMismatch):
        await maintenance.want(session, "nodes/a", NodeState.CORDONED, etag="0")
    with pytest.raises(maintenance.NodeNotFound):
        await maintenance.want(session, "nodes/none", NodeState.CORDONED)
