"""The cycle around the decisions: what changed → books → decisions → rows, in one transaction, under one lock.

Whoever is stopped in the middle holds the lock and has written nothing; whoever comes late finds what was written. So two
schedulers at once give nothing away twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gyre_kit.db import Session, insert_rows
from gyre_kit.errors import Conflict
from gyre_kit.outbox import emit_all

from services.gpu_scheduler import facts, placements, store, store_nodes
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions import cycle, shortage
from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.decisions.cycle import Admit, Evict
from services.gpu_scheduler.decisions.policies import DEFAULT as DEFAULT_POLICY
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.models import HOLDING, Attempt, WorkloadState

IDLE_SECONDS = 10.0
MOST_DECISIONS = 1000  # of one cycle, so that its transaction is short; the next follows at once
BUSY = 20  # decisions; a cycle that made so many leaves the reasons to the next, which follows at once
WRITTEN_DOWN = 10  # workloads of one shape whose reason is kept in the table; the others are told theirs when asked


# What a new attempt has where nothing is given; to make a model of each takes longer than to decide about it.
BLANK: dict[str, Any] = {
    name: field.get_default(call_default_factory=True)
    for name, field in Attempt.model_fields.items()
    if not field.is_required()
}


class BooksAreOff(Conflict):
    """The tables are not as the books have it: those are thrown away, and the next cycle reads the tables anew."""


@dataclass(frozen=True)
class Cycle:
    """What one cycle did. `has_more`: it came to as many decisions as one may, and others wait for theirs."""

    admitted: int
    preempted: int
    has_more: bool = False


async def run_cycle(session: Session, books: Books | None = None, idle_seconds: float = IDLE_SECONDS) -> Cycle:
    """Decides about everything of which the answer may have changed. One cycle at a time. Raises: BooksAreOff.

    Whoever passes `books` throws them away if the transaction does not commit. PostgreSQL ends it when it hears nothing
    for `idle_seconds`.
    """
    await store.begin_cycle(session, idle_seconds)
    books = books or Books(DEFAULT_POLICY)
    cluster = await books.refresh(session)  # 1 what changed
    if books.broken:
        await store.forget_promises(session, books.broken)
    books.to_explain(cluster.dirty)
    decisions = cycle.run(cluster, session.clock.now().timestamp(), MOST_DECISIONS)  # 2 decide
    admits = [each for each in decisions if isinstance(each, Admit)]
    evicts = [each for each in decisions if isinstance(each, Evict)]
    admitted = await _admit(session, books, admits)  # 3 write down
    await _evict(session, books, evicts)
    if len(decisions) < BUSY or books.is_silent(session.clock.now().timestamp()):
        await _keep_reasons(session, books)
    return Cycle(admitted, len(evicts), bool(cluster.dirty))


async def _admit(session: Session, books: Books, admits: Sequence[Admit]) -> int:
    """The intents, the new attempts, before anything is launched; without those that were cancelled meanwhile."""
    if not admits:
        return 0
    now = session.clock.now()
    rows = await store.admit(session, [_row(each) for each in admits])
    given = [each for each in admits if each.workload.name in rows]
    if not given:
        return 0
    cards = {card: each.workload.name for each in given for card in _whole_cards(books, each)}
    if cards and await store_nodes.take_cards(session, cards) != len(cards):
        raise BooksAreOff(cards=len(cards))
    prices = await store_nodes.flavor_prices(session)
    attempts = [_attempt(books, each, rows[each.workload.name], prices[each.flavor], now) for each in given]
    await insert_rows(session, Attempt.__table__, attempts)  # type: ignore[attr-defined]
    for each in given:
        books.attempts[each.workload.name] = rows[each.workload.name].attempt
        books.written.pop(each.workload.name, None)
    await emit_all(session, {name: facts.admitted(row, now) for name, row in rows.items()})
    return len(given)


def _row(admit: Admit) -> dict[str, str]:
    return {"name": admit.workload.name, "node": admit.placement[0].node, "flavor": admit.flavor}


def _whole_cards(books: Books, admit: Admit) -> list[str]:
    """A card that is shared is nobody's alone: who holds how much of it is in the placements."""
    cards = [(share.node, index) for share in admit.placement for index, milli in share.cards if milli == CARD]
    return [books.cards[card][0] for card in cards]


def _attempt(books: Books, admit: Admit, row: Any, price: Any, now: datetime) -> dict[str, Any]:
    return BLANK | {
        "name": store.attempt_name(row.name, row.attempt),
        "project": row.project,
        "workload": row.name,
        "number": row.attempt,
        "node": row.node,
        "flavor": row.flavor,
        "cpu_milli": row.cpu_milli,
        "memory_bytes": row.memory_bytes,
        "gpu": row.gpu,
        "gpu_milli": row.gpu_milli,
        "cpu_hour_microusd": price.cpu_hour_microusd,
        "gpu_hour_microusd": price.gpu_hour_microusd,
        "card_uuids": [books.cards[share.node, index][1] for share in admit.placement for index, _ in share.cards],
        "placement": placements.to_json(admit.placement),
        "members": _members(books, admit) if len(admit.placement) > 1 else [],
        "admit_time": now,
    }


def _members(books: Books, admit: Admit) -> list[dict[str, Any]]:
    """What of a gang runs on which node; the first is rank 0."""
    return [
        {
            "node": share.node,
            "cpu_milli": share.amount.cpu_milli,
            "memory_bytes": share.amount.memory_bytes,
            "gpu": share.amount.cards,
            "cards": [books.cards[share.node, index][1] for index, _ in share.cards],
        }
        for share in admit.placement
    ]


async def _evict(session: Session, books: Books, evicts: Sequence[Evict]) -> None:
    """Their resources are promised, and held by them until their stop is confirmed."""
    if not evicts:
        return
    found = await store.locked(session, {name for each in evicts for name in (each.workload.name, each.gains.name)})
    for gains in {each.gains.name for each in evicts if each.gains is not each.workload}:
        if found[gains].state != WorkloadState.QUEUED or found[gains].held:
            raise BooksAreOff(name=gains, state=found[gains].state)  # nobody has to go for what waits no more
    leaving = [each for each in evicts if found[each.workload.name].state in HOLDING]
    await store.evict(session, [(each.workload.name, each.gains.name, each.rule) for each in leaving])
    promised = {each.gains.name: _promised(books.known.promises[each.gains.name]) for each in evicts}
    await store.promise(session, promised, Reason.WAITING_FOR_PREEMPTION)
    books.written |= dict.fromkeys(promised, str(Reason.WAITING_FOR_PREEMPTION))


def _promised(promise: Promise) -> dict[str, Any]:
    return {"flavor": promise.flavor, "rule": promise.rule, "placement": placements.to_json(promise.placement)}


async def _keep_reasons(session: Session, books: Books) -> None:
    """Why the first of each shape that was looked at wait; and those that are not considered at all."""
    cluster = books.known
    reasons = {name: str(reason) for name, reason in books.aside.items()}
    for queue, shapes in books.explained(session.clock.now().timestamp()).items():
        line = cluster.lines[queue]
        for shape in shapes & line.parked.keys():
            heap = line.heaps.get(shape, [])[:WRITTEN_DOWN]
            names = [entry[2].name for entry in heap if cluster.waiting.get(entry[2].name) is entry]
            if names:
                why = shortage.why(cluster, cluster.waiting[names[0]][2])
                reasons |= dict.fromkeys(names, str(why.reason))
    new = {name: reason for name, reason in reasons.items() if books.written.get(name) != reason}
    books.written |= new
    by_reason: dict[str, list[str]] = {}
    for name, reason in new.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        await store.set_waiting_reason(session, names, reason)
