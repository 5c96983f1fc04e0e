"""Every query of accounting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from gyre_kit.db import Session
from gyre_kit.periods import Period
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col

from services.gpu_scheduler.accounting.amounts import Held, Key, Sums, held_of
from services.gpu_scheduler.accounting.fragmentation import Stretch
from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.models import (
    HOLDING,
    Attempt,
    CapacitySpan,
    Card,
    Queue,
    QueueState,
    UsageDay,
    Workload,
    WorkloadState,
)

Terms = Mapping[str, str]  # what is asked to be equal
DAY_COLUMNS: Mapping[str, Any] = {
    name: getattr(UsageDay, name) for name in ("day", "project", "user", "queue", "flavor", "kind")
}
ATTEMPT_COLUMNS: Mapping[str, Any] = {
    "project": Attempt.project,
    "user": Workload.user,
    "queue": Workload.queue,
    "flavor": Attempt.flavor,
    "kind": Workload.kind,
    "node": Attempt.node,
    "workload": Attempt.workload,
}
AMOUNTS = ("held_us", "core_milli_us", "card_milli_us", "cost", "attempt_count", "preemption_count")
ROWS_AT_ONCE = 1000  # of twelve parameters; a statement takes 32,767


async def freeze_roll_ups(session: Session) -> None:
    """Until this transaction ends no attempt changes from counted by itself to counted in its day."""
    await session.execute(sa.text("SELECT pg_advisory_xact_lock_shared(hashtextextended('gpu_scheduler/roll_up', 0))"))


async def day_sums(
    session: Session, period: Period, terms: Terms, groups: Sequence[str]
) -> dict[tuple[Any, ...], Sums]:
    """Group → what is rolled up of the days from `period.start` to before `period.end`. `groups`: of DAY_COLUMNS."""
    columns = [DAY_COLUMNS[group] for group in groups]
    amounts = [sa.func.sum(getattr(UsageDay, amount)) for amount in AMOUNTS]
    query = sa.select(*columns, *amounts).where(col(UsageDay.day) >= period.start, col(UsageDay.day) < period.end)
    for field, value in terms.items():
        query = query.where(DAY_COLUMNS[field] == value)
    rows = await session.execute(query.group_by(*columns).having(sa.func.count() > 0))
    width = len(columns)
    return {tuple(row[:width]): Sums(*(int(amount) for amount in row[width:])) for row in rows}


async def not_rolled_up(session: Session, period: Period, terms: Terms) -> list[Held]:
    """Attempts of which no day knows yet: those that go on, and the latest that ended."""
    return await _held(session, _attempts(period, terms).where(sa.not_(col(Attempt.rolled_up))))


async def held_within(session: Session, period: Period, terms: Terms) -> list[Held]:
    """All attempts that held something in `period`, or were admitted or ended in it."""
    return await _held(session, _attempts(period, terms))


async def take_ended(session: Session, limit: int) -> list[Held]:
    """At most `limit` ended attempts that no day knows of; from now on they count as rolled up."""
    query = (
        sa.select(Attempt, col(Workload.user), col(Workload.queue), col(Workload.kind))
        .join(Workload, col(Workload.name) == Attempt.workload)
        .where(sa.not_(col(Attempt.rolled_up)), col(Attempt.end_time).is_not(None))
        .order_by(col(Attempt.admit_time))
        .limit(limit)
        .with_for_update(of=Attempt)
    )
    rows = (await session.execute(query)).all()
    for attempt, *_ in rows:
        attempt.rolled_up = True
    return [held_of(*row) for row in rows]


async def add_to_days(session: Session, sums: Mapping[tuple[datetime, Key], Sums]) -> None:
    """In one order everywhere, so that two at once would not wait for each other."""
    rows = [
        {
            "day": day,
            **key._asdict(),
            **vars(amounts),
            **{name: Decimal(getattr(amounts, name)) for name in AMOUNTS[:4]},
        }
        for (day, key), amounts in sorted(sums.items(), key=lambda item: item[0])
    ]
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        insertion = insert(UsageDay).values(rows[begin : begin + ROWS_AT_ONCE])
        added = {name: getattr(UsageDay, name) + insertion.excluded[name] for name in AMOUNTS}
        await session.execute(insertion.on_conflict_do_update(index_elements=list(DAY_COLUMNS), set_=added))


async def attempt_page(
    session: Session, period: Period, terms: Terms, order: Any, offset: int, limit: int
) -> tuple[Sequence[tuple[Attempt, Workload]], int]:
    """Attempts with their workloads, and how many there are in all."""
    query = sa.select(Attempt, Workload).join(Workload, col(Workload.name) == Attempt.workload)
    query = _overlapping(query, period, terms)
    total = await session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    rows = await session.execute(query.order_by(order, col(Attempt.name)).offset(offset).limit(limit))
    return [(attempt, workload) for attempt, workload in rows], total


async def queue_names(session: Session, project: str, offset: int, limit: int) -> tuple[Sequence[str], int]:
    """By name; an empty project means all. And how many there are in all."""
    query = sa.select(col(Queue.name))
    if project:
        query = query.where(col(Queue.project) == project)
    total = await session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    return (await session.scalars(query.order_by(col(Queue.name)).offset(offset).limit(limit))).all(), total


async def held_by(session: Session, period: Period, by: str) -> dict[str, tuple[int, int]]:
    """Flavor or node → what attempts held of it in `period`, up to now: (cores, cards) in thousandths times microseconds."""
    shares = _shares(period)
    until = min(period.end, session.clock.now())
    end = sa.func.least(sa.func.coalesce(shares.c.end_time, until), until)
    lasted = end - sa.func.greatest(shares.c.admit_time, period.start)
    held_us = sa.func.greatest(sa.cast(sa.extract("epoch", lasted) * 1_000_000, sa.BigInteger), 0)
    name = shares.c[by]
    query = sa.select(
        name, sa.func.sum(held_us * shares.c.cpu_milli), sa.func.sum(held_us * shares.c.card_milli)
    ).group_by(name)
    return {row[0]: (int(row[1]), int(row[2])) for row in await session.execute(query)}


async def cards_held(session: Session, period: Period, most: int) -> list[Stretch]:
    """What attempts held of the cards of each node; `most` of them."""
    shares = _shares(period)
    columns = (shares.c.admit_time, shares.c.end_time, shares.c.card_milli, shares.c.node)
    rows = await session.execute(sa.select(*columns).where(shares.c.card_milli > 0).limit(most))
    return [Stretch(*row) for row in rows]


async def card_waits(session: Session, period: Period, most: int) -> list[Stretch]:
    """Whenever something that asks for cards waited: before its first attempt, and after each that was not its last."""
    following = aliased(Attempt)
    asked = col(Workload.gpu) * CARD + col(Workload.gpu_milli)
    begins: Any = sa.select(
        col(Workload.queue_time).label("begin"),
        sa.func.coalesce(Attempt.admit_time, Workload.end_time).label("end"),
        asked.label("asked"),
    ).outerjoin(Attempt, sa.and_(col(Attempt.workload) == Workload.name, col(Attempt.number) == 1))
    again: Any = (
        sa.select(
            col(Attempt.end_time).label("begin"),
            sa.func.coalesce(following.admit_time, Workload.end_time).label("end"),
            asked.label("asked"),
        )
        .join(Workload, col(Workload.name) == Attempt.workload)
        .outerjoin(following, sa.and_(following.workload == Attempt.workload, following.number == Attempt.number + 1))
        .where(col(Attempt.end_time).is_not(None))
    )
    waits = sa.union_all(begins, again).subquery()
    query = sa.select(waits.c.begin, waits.c.end, waits.c.asked).where(
        waits.c.asked > 0,
        waits.c.begin < period.end,
        sa.or_(waits.c.end.is_(None), sa.and_(waits.c.end > period.start, waits.c.end > waits.c.begin)),
    )
    return [Stretch(*row) for row in await session.execute(query.limit(most))]


def _shares(period: Period) -> Any:
    """What each attempt that touches `period` holds of each node. One that says nothing of nodes holds all of its own."""
    cards = col(Attempt.gpu) * CARD + col(Attempt.gpu_milli)
    whole = sa.func.json_build_array(
        sa.func.json_build_object("node", Attempt.node, "cpu_milli", Attempt.cpu_milli, "gpu_milli", cards)
    )
    placed = sa.case((sa.func.json_array_length(Attempt.placement) == 0, whole), else_=col(Attempt.placement))
    share = sa.func.json_array_elements(placed).table_valued(sa.column("value", sa.JSON), name="share").render_derived()
    query = sa.select(
        col(Attempt.admit_time),
        col(Attempt.end_time),
        col(Attempt.flavor),
        share.c.value["node"].as_string().label("node"),
        share.c.value["cpu_milli"].as_integer().label("cpu_milli"),
        share.c.value["gpu_milli"].as_integer().label("card_milli"),
    ).select_from(sa.join(Attempt, share, sa.true()))
    return _touching(query, period).subquery()


async def waits(
    session: Session, period: Period, queues: Collection[str]
) -> dict[str, tuple[int, float, float, float, float]]:
    """Queue → first admissions in `period`, and their waits in seconds: mean, median, 95th and 99th percentile."""
    waited = sa.extract("epoch", Attempt.admit_time) - sa.extract("epoch", Workload.queue_time)
    seconds = sa.func.greatest(waited, 0)
    query = (
        sa.select(
            col(Workload.queue),
            sa.func.count(),
            sa.func.avg(seconds),
            *(sa.func.percentile_cont(share).within_group(seconds) for share in (0.5, 0.95, 0.99)),
        )
        .join(Attempt, col(Attempt.workload) == Workload.name)
        .where(col(Workload.queue).in_(queues), col(Attempt.number) == 1)
        .where(col(Attempt.admit_time) >= period.start, col(Attempt.admit_time) < period.end)
        .group_by(col(Workload.queue))
    )
    rows = await session.execute(query)
    return {row[0]: (row[1], float(row[2]), float(row[3]), float(row[4]), float(row[5])) for row in rows}


async def first_waits(session: Session, since: datetime) -> list[tuple[str, str, float]]:
    """(attempt, queue, seconds) of first admissions since then."""
    query = (
        sa.select(col(Attempt.name), col(Workload.queue), col(Attempt.admit_time), col(Workload.queue_time))
        .join(Workload, col(Workload.name) == Attempt.workload)
        .where(col(Attempt.admit_time) >= since, col(Attempt.number) == 1)
    )
    rows = await session.execute(query)
    return [(name, queue, max(0.0, (admitted - queued).total_seconds())) for name, queue, admitted, queued in rows]


async def preemptions(session: Session, period: Period, queues: Collection[str] | None = None) -> dict[str, list[str]]:
    """Queue → its attempts that were preempted in `period`."""
    query = (
        sa.select(col(Workload.queue), sa.func.array_agg(col(Attempt.name)))
        .join(Workload, col(Workload.name) == Attempt.workload)
        .where(col(Attempt.preempted), col(Attempt.end_time) >= period.start, col(Attempt.end_time) < period.end)
        .group_by(col(Workload.queue))
    )
    if queues is not None:
        query = query.where(col(Workload.queue).in_(queues))
    return dict((await session.execute(query)).tuples().all())


async def heads(session: Session) -> list[tuple[str, bool, int, datetime]]:
    """(queue, whether it is held, how many wait, since when the first of them waits).

    The first is the oldest of the highest priority that does not back off. Whoever lost its place waits since then.
    """
    now = session.clock.now()
    since = sa.func.coalesce(Attempt.end_time, Workload.queue_time)
    rank = sa.func.row_number().over(
        partition_by=Workload.queue, order_by=(col(Workload.priority).desc(), col(Workload.queue_time))
    )
    waiting = (
        sa.select(
            col(Workload.queue).label("queue"),
            since.label("since"),
            rank.label("rank"),
            sa.func.count().over(partition_by=Workload.queue).label("waiting"),
        )
        .outerjoin(Attempt, sa.and_(Attempt.workload == Workload.name, Attempt.number == Workload.attempt))
        .where(col(Workload.state) == WorkloadState.QUEUED)
        .where(sa.or_(col(Workload.not_before).is_(None), col(Workload.not_before) <= now))
        .subquery()
    )
    query = (
        sa.select(waiting.c.queue, col(Queue.state) == QueueState.HELD, waiting.c.waiting, waiting.c.since)
        .join(Queue, col(Queue.name) == waiting.c.queue)
        .where(waiting.c.rank == 1)
    )
    return [(queue, held, count, since) for queue, held, count, since in await session.execute(query)]


async def class_counts(session: Session, classes: Collection[str]) -> dict[str, tuple[int, int]]:
    """Priority class → (workloads that wait, workloads that hold resources)."""
    waits = sa.func.count().filter(col(Workload.state) == WorkloadState.QUEUED)
    holds = sa.func.count().filter(col(Workload.state).in_(HOLDING))
    query = sa.select(col(Workload.priority_class), waits, holds).where(
        col(Workload.state).in_((WorkloadState.QUEUED, *HOLDING)), col(Workload.priority_class).in_(classes)
    )
    rows = await session.execute(query.group_by(col(Workload.priority_class)))
    return {name: (waiting, holding) for name, waiting, holding in rows}


async def card_counts(session: Session) -> dict[str, tuple[int, int, int]]:
    """Node → cards that are present and well, of these made up, of these free."""
    present = sa.and_(col(Card.present), col(Card.fault_code) == "")
    query = sa.select(
        col(Card.node),
        sa.func.count().filter(present),
        sa.func.count().filter(present, col(Card.simulated)),
        sa.func.count().filter(present, col(Card.workload) == ""),
    ).group_by(col(Card.node))
    return {node: (count, simulated, free) for node, count, simulated, free in await session.execute(query)}


async def smallest_gang(session: Session) -> Workload | None:
    """Of those that wait for cards, the one that asks for least: cards first, then cores, then memory."""
    query = (
        sa.select(Workload)
        .where(col(Workload.state) == WorkloadState.QUEUED, col(Workload.gpu) > 0)
        .order_by(col(Workload.gpu), col(Workload.cpu_milli), col(Workload.memory_bytes))
        .limit(1)
    )
    found: Workload | None = await session.scalar(query)
    return found


async def open_spans(session: Session) -> dict[str, CapacitySpan]:
    rows = await session.scalars(sa.select(CapacitySpan).where(col(CapacitySpan.end_time).is_(None)))
    return {row.node: row for row in rows}


async def spans_within(session: Session, period: Period) -> Sequence[CapacitySpan]:
    query = sa.select(CapacitySpan).where(
        col(CapacitySpan.start_time) < period.end,
        sa.or_(col(CapacitySpan.end_time).is_(None), col(CapacitySpan.end_time) > period.start),
    )
    return (await session.scalars(query)).all()


def _attempts(period: Period, terms: Terms) -> Any:
    query = sa.select(Attempt, col(Workload.user), col(Workload.queue), col(Workload.kind))
    return _overlapping(query.join(Workload, col(Workload.name) == Attempt.workload), period, terms)


def _overlapping(query: Any, period: Period, terms: Terms) -> Any:
    query = _touching(query, period)
    for field, value in terms.items():
        query = query.where(ATTEMPT_COLUMNS[field] == value)
    return query


def _touching(query: Any, period: Period) -> Any:
    """Plain comparisons, for under row-level security an index is used by operators alone that leak nothing (no `&&`)."""
    return query.where(
        col(Attempt.admit_time) < period.end,
        sa.or_(col(Attempt.end_time).is_(None), col(Attempt.end_time) >= period.start),
    )


async def _held(session: Session, query: Any) -> list[Held]:
    rows: Iterable[Any] = await session.execute(query)
    return [held_of(*row) for row in rows]
