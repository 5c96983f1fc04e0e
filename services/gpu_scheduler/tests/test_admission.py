"""Parts of cards, gangs, speeds that were measured, and every policy in the service itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gyre_kit.db import Session

from services.gpu_scheduler import admission, nodes, service, store, store_nodes, submission, throughput
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions.amounts import CARD as WHOLE
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.hardware import CardReading
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import Card, Throughput
from services.gpu_scheduler.tests.calls import cycle
from services.gpu_scheduler.tests.test_service import CARD, GIB, MACHINE, SETTINGS, TRAINER, ensured, launched, node

__all__ = ["node"]  # a fixture


async def test_half_a_card_leaves_the_other_half(session: Session) -> None:
    await nodes.heard_of(session, replace(MACHINE, flavor="h100", cards=[CARD]), SETTINGS)
    half = replace(TRAINER, requests=Amount(500, GIB, WHOLE // 2))
    first, second, third = [await ensured(session, half) for _ in range(3)]
    assert (await cycle(session)).admitted == 2
    assert (first.state, second.state, third.waiting_reason) == ("ADMITTED", "ADMITTED", Reason.NO_FREE_GPU)
    with pytest.raises(submission.BadSpec):
        await ensured(session, replace(TRAINER, requests=Amount(500, GIB, WHOLE + 500)))


async def test_a_gang_gets_whole_nodes_of_a_cluster_and_a_rest_or_nothing(session: Session) -> None:
    for name in ("b", "c"):
        cards = [CardReading(index, f"GPU-{name}{index}", "NVIDIA A100", 80 * GIB) for index in range(4)]
        member = replace(MACHINE, id=name, hostname=name, flavor="a100", cpu_milli=64_000, cards=cards)
        (await nodes.heard_of(session, member, SETTINGS)).launcher = "ray"
    await session.flush()
    gang = await ensured(session, replace(TRAINER, requests=Amount(12_000, 6 * GIB, 6 * WHOLE)))
    second = await ensured(session, replace(TRAINER, requests=Amount(8_000, 6 * GIB, 8 * WHOLE)))
    assert (await cycle(session)).admitted == 1
    attempt = await store.attempt(session, gang.name, 1)
    assert [(part["node"], part["gpu"], part["cpu_milli"], len(part["cards"])) for part in attempt.members] == [
        ("nodes/b", 4, 8000, 4),
        ("nodes/c", 2, 4000, 2),
    ]
    assert second.waiting_reason == Reason.NO_FREE_GPU
    with pytest.raises(submission.FitsNowhere):
        await ensured(session, replace(TRAINER, requests=Amount(9_000, 6 * GIB, 9 * WHOLE)))
    held = [card.workload for card in await store_nodes.cards(session, ["nodes/b", "nodes/c"])]
    assert held.count(gang.name) == 6
    await service.attempt_ended(session, gang, attempt, Ended(64), SETTINGS)
    assert (await cycle(session)).admitted == 1 and second.state == "ADMITTED"


async def test_measured_speeds_are_learnt_by_class_and_flavor(session: Session) -> None:
    await nodes.heard_of(session, replace(MACHINE, id="fast", hostname="fast", flavor="h100", cards=[CARD]), SETTINGS)
    books = Books("best-effort")
    wanted = replace(TRAINER, requests=Amount(500, GIB, WHOLE), throughput_class="SFT tiny")
    first = await ensured(session, wanted)
    await cycle(session, books)
    for rate in (2.0, 4.0):
        await throughput.report(session, first.name, 1, rate)
    (row,) = await store.throughputs(session)
    await session.refresh(row)
    assert (row.throughput_class, row.cards, row.flavor, row.samples) == ("SFT tiny", 1, "flavors/h100", 2)
    assert row.rate == pytest.approx(2.6)
    session.add(
        Throughput(throughput_class="SFT tiny", cards=1, flavor="flavors/l4", rate=1.3, update_time=row.update_time)
    )
    await session.flush()
    books.throw_away()
    await cycle(session, books)
    speeds = books.cluster.speeds
    assert speeds.of("SFT tiny", 1, "flavors/h100") == 1
    assert speeds.of("SFT tiny", 1, "flavors/l4") == pytest.approx(0.5)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(throughput.BadThroughput):
            await throughput.report(session, first.name, 1, wrong)
    with pytest.raises(throughput.NotThatAttempt):
        await throughput.report(session, first.name, 2, 1.0)


def test_what_was_never_measured_is_as_fast_as_its_card_is_published_to_be() -> None:
    def card(node: str, model: str) -> Card:
        return Card(name=node, node=node, index=0, uuid=node, model=model, memory_bytes=GIB)

    cards = [card("a", "NVIDIA H100 80GB HBM3"), card("b", "Tesla T4"), card("c", "Something new")]
    found = throughput.speeds([], cards, {"a": "h100", "b": "t4", "c": "new"})
    assert found.of("any", 1, "h100") == 1.0 and 0.02 < found.of("any", 1, "t4") < 0.2
    assert found.of("any", 1, "new") == 1.0


@pytest.mark.parametrize("policy", ["backfill", "las", "hetero"])
async def test_every_policy_runs_in_the_service_and_learns_from_what_ended(session: Session, policy: str) -> None:
    books = Books(policy)
    first, second = await ensured(session), await ensured(session)
    assert (await cycle(session, books)).admitted == 1
    attempt = await launched(session, first)
    await service.attempt_ended(session, first, attempt, Ended(0), SETTINGS)
    assert (await cycle(session, books)).admitted == 1 and second.state == "ADMITTED"
    books.throw_away()
    assert (await cycle(session, books)) == admission.Cycle(admitted=0, preempted=0)
