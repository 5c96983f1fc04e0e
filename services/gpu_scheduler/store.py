"""Queries of workloads and their attempts, and what a cycle reads and writes. Nodes, queues and bounds have files beside it.

Where one statement changes many rows, they are named twice, by `= ANY` too: joined to `unnest` alone, PostgreSQL reads the
whole table once there are some hundreds. And `= ANY` is one statement for any number of names, where `IN` is another for each.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlalchemy.dialects import postgresql
from sqlmodel import col

from services.gpu_scheduler.models import (
    ENDED,
    HOLDING,
    Attempt,
    Throughput,
    Topology,
    Workload,
    WorkloadState,
)

FILTERS = ("state", "kind", "owner", "queue", "node", "flavor")


async def make_due(session: Session, workload: str) -> bool:
    """Has work that runs looked at now. True if somebody looks at it this moment, and will put off the next look."""
    living = col(Workload.state).in_([WorkloadState.STARTING, WorkloadState.RUNNING])
    update = sa.update(Workload).where(col(Workload.name) == workload, living).values(due=None)
    return await session.scalar(update.returning(col(Workload.lease_token))) is not None


EVERY_PROJECT = "-"  # that the caller may see


async def workload_page(session: Session, project: str, request: Any) -> pages.Page[Workload]:
    workloads = sa.select(Workload)
    if project != EVERY_PROJECT:
        workloads = workloads.where(col(Workload.project) == project)
    text_in = ("display_name", "owner", "number")
    return await resources.listed(session, workloads, Workload, request, allowed=FILTERS, text_in=text_in)


async def serialise(session: Session, what: str) -> None:
    """Lets one transaction at a time do `what`; the others wait until it has ended."""
    key = {"key": f"gpu_scheduler/{what}"}
    await session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)


async def begin_cycle(session: Session, idle_seconds: float) -> None:
    """Lets one cycle at a time decide. Who is silent for `idle_seconds` while it does so loses its session and the lock:
    what it wrote is undone, and its commit fails. Who is stopped within a statement is not idle to PostgreSQL, so the
    whole cycle is bounded too, by six times as long, where the server can (from 17 on).

    Statements are planned for their values: a plan for any list of names compares each row with each name of it.
    """
    values = {
        "key": "gpu_scheduler/admission",
        "idle": f"{idle_seconds * 1000:.0f}ms",
        "whole": f"{idle_seconds * 6000:.0f}ms",
    }
    quiet = "set_config('idle_in_transaction_session_timeout', :idle, true)"
    whole = "CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', :whole, true) END"
    planned = "set_config('plan_cache_mode', 'force_custom_plan', true)"
    await session.execute(
        sa.text(f"SELECT {quiet}, {whole}, {planned}, pg_advisory_xact_lock(hashtextextended(:key, 0))"), values
    )


async def say_something(session: Session) -> None:
    """A session that is silent for as long as `begin_cycle` said is ended."""
    await session.execute(sa.text("SELECT"))


def among(column: Any, values: Collection[str]) -> sa.ColumnElement[bool]:
    return col(column) == sa.any_(sa.cast(list(values), postgresql.ARRAY(sa.Text)))


async def workloads_named(session: Session, names: Collection[str]) -> Sequence[Workload]:
    query = sa.select(Workload).where(among(Workload.name, names))
    return (await session.scalars(query.execution_options(populate_existing=True))).all()


LOOKED_AT = (
    "name", "state", "kind", "queue", "priority", "cpu_milli", "memory_bytes", "gpu", "gpu_milli", "only_flavor", "queue_time",
    "not_before", "held", "throughput_class", "ran_seconds", "max_run_seconds", "preemptions", "attempt", "node", "flavor",
    "admit_time", "stop_reason", "preempted_for", "promised", "guaranteed",
)  # fmt: skip


async def versions(session: Session) -> tuple[int, int]:
    """The topology's version, and the oldest transaction that is still open: whatever commits later is not older."""
    version = sa.select(col(Topology.version)).scalar_subquery()
    oldest: sa.ColumnElement[int] = sa.literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    found = (await session.execute(sa.select(sa.func.coalesce(version, 0), oldest))).one()
    return found[0], found[1]


async def looked_at(session: Session) -> Sequence[Any]:
    """What a cycle knows of every workload that waits or holds."""
    active = col(Workload.state).in_([WorkloadState.QUEUED, *HOLDING])
    return (
        await session.execute(_looked_at().where(active).order_by(col(Workload.queue_time), col(Workload.number)))
    ).all()


async def changed_since(session: Session, transaction: int) -> Sequence[Any]:
    """The same of those that a transaction from that one on has changed, ended ones too."""
    changed = _looked_at().where(col(Workload.change) >= transaction)
    return (await session.execute(changed.order_by(col(Workload.queue_time)))).all()


async def last_ended(session: Session, most: int) -> Sequence[Any]:
    """The same of those that finished last, the earliest of them first."""
    finished = _looked_at().where(col(Workload.state) == WorkloadState.FINISHED)
    rows = (await session.execute(finished.order_by(col(Workload.end_time).desc()).limit(most))).all()
    return rows[::-1]


def _looked_at() -> sa.Select[Any]:
    return sa.select(*[getattr(Workload, name) for name in LOOKED_AT])


async def placed(session: Session, attempts: Collection[str]) -> dict[str, Any]:
    """Workload → where that attempt of it is: its placement and its cards."""
    named = col(Attempt.name) == sa.func.any(sa.cast(list(attempts), postgresql.ARRAY(sa.Text)))
    query = sa.select(col(Attempt.workload), col(Attempt.placement), col(Attempt.card_uuids)).where(named)
    return {row.workload: row for row in await session.execute(query)}


async def stopping(session: Session) -> set[str]:
    """Those whose cards are about to be free."""
    query = sa.select(col(Workload.name)).where(col(Workload.state) == WorkloadState.STOPPING)
    return set((await session.scalars(query)).all())


async def admit(session: Session, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Makes QUEUED workloads ADMITTED, each with its next attempt; name → row of those that were still QUEUED."""
    given = sa.text(  # they are found by name: asked for their state too, PostgreSQL may read all that wait
        """
        WITH named AS MATERIALIZED (
            SELECT name, state, held FROM gpu_scheduler.workload WHERE name = ANY(CAST(:names AS text[]))
            ORDER BY name FOR NO KEY UPDATE
        )
        UPDATE gpu_scheduler.workload AS w
        SET state = 'ADMITTED', attempt = w.attempt + 1, node = g.node, flavor = g.flavor, admit_time = :now,
            admit_seconds = COALESCE((SELECT seconds FROM gpu_scheduler.steadytime), 0),
            waiting_reason = '', promised = '{}', not_before = NULL, due = NULL, update_time = :now,
            revision = w.revision + 1
        FROM unnest(CAST(:names AS text[]), CAST(:nodes AS text[]), CAST(:flavors AS text[])) AS g (name, node, flavor)
        JOIN named USING (name) WHERE w.name = named.name AND named.state = 'QUEUED' AND NOT named.held
        RETURNING w.name, w.project, w.kind, w.owner, w.attempt, w.node, w.flavor, w.cpu_milli, w.memory_bytes, w.gpu, w.gpu_milli
        """
    )
    values = {
        "now": session.clock.now(),
        "names": [row["name"] for row in rows],
        "nodes": [row["node"] for row in rows],
        "flavors": [row["flavor"] for row in rows],
    }
    return {row.name: row for row in await session.execute(given, values)}


async def locked(session: Session, names: Collection[str]) -> dict[str, Any]:
    """name → (state, held), locked in the order of their names, so that two who lock several do not wait for each other."""
    query = sa.select(col(Workload.name), col(Workload.state), col(Workload.held))
    query = query.where(among(Workload.name, names)).order_by(col(Workload.name)).with_for_update(key_share=True)
    return {row.name: row for row in await session.execute(query)}


async def evict(session: Session, rows: Sequence[tuple[str, str, str]]) -> None:
    """(who has to go, who gains, by which rule). Those that stop for another reason already stop for that.

    Whoever has the lease of one that is asked now loses it: what it does is void.
    """
    asked = sa.text(
        """
        UPDATE gpu_scheduler.workload AS w
        SET preempted_for = g.gains, preemption_rule = g.rule, update_time = :now, revision = w.revision + 1,
            state = 'STOPPING', stop_reason = CASE w.state WHEN 'STOPPING' THEN w.stop_reason ELSE 'PREEMPTION' END,
            address = CASE w.state WHEN 'STOPPING' THEN w.address ELSE '' END,
            lease_token = CASE w.state WHEN 'STOPPING' THEN w.lease_token END,
            lease_until = CASE w.state WHEN 'STOPPING' THEN w.lease_until END,
            due = CASE w.state WHEN 'STOPPING' THEN w.due END
        FROM unnest(CAST(:names AS text[]), CAST(:gains AS text[]), CAST(:rules AS text[])) AS g (name, gains, rule)
        WHERE w.name = ANY(CAST(:names AS text[])) AND w.name = g.name
        """
    )
    names, gains, rules = zip(*rows, strict=True) if rows else ((), (), ())
    values = {"now": session.clock.now(), "names": list(names), "gains": list(gains), "rules": list(rules)}
    await session.execute(asked, values)


async def promise(session: Session, promised: Mapping[str, Any], reason: str) -> None:
    """Workload → what it is promised. Says so to other schedulers too: the trigger of `held` notes the change."""
    said = sa.text(
        """
        UPDATE gpu_scheduler.workload AS w
        SET promised = CAST(g.promised AS json), waiting_reason = :reason, held = w.held
        FROM unnest(CAST(:names AS text[]), CAST(:promised AS text[])) AS g (name, promised)
        WHERE w.name = ANY(CAST(:names AS text[])) AND w.name = g.name
        """
    )
    texts = [json.dumps(each, ensure_ascii=False) for each in promised.values()]
    await session.execute(said, {"reason": reason, "names": list(promised), "promised": texts})


async def forget_promises(session: Session, workloads: Collection[str]) -> None:
    values = {"promised": {}, "held": col(Workload.held)}
    update = sa.update(Workload).where(col(Workload.name).in_(workloads)).values(values)
    await session.execute(update.execution_options(synchronize_session=False))


async def measured(session: Session, workload: Workload, rate: float, newest: float) -> None:
    """Blends `rate` into what is known of its class on its flavor."""
    row = {
        "throughput_class": workload.throughput_class,
        "cards": workload.gpu,
        "flavor": workload.flavor,
        "rate": rate,
        "samples": 1,
        "update_time": session.clock.now(),
    }
    insert = postgresql.insert(Throughput).values(row)
    blended = col(Throughput.rate) * (1 - newest) + insert.excluded.rate * newest
    values = {"rate": blended, "samples": col(Throughput.samples) + 1, "update_time": row["update_time"]}
    await session.execute(
        insert.on_conflict_do_update(index_elements=["throughput_class", "cards", "flavor"], set_=values)
    )


async def throughputs(session: Session) -> Sequence[Throughput]:
    return (await session.scalars(sa.select(Throughput))).all()


async def numbers(session: Session, names: Collection[str]) -> Sequence[tuple[str, str, int]]:
    """(name, kind, short number) of workloads."""
    query = sa.select(col(Workload.name), col(Workload.kind), col(Workload.number)).where(col(Workload.name).in_(names))
    return [(name, kind, number) for name, kind, number in await session.execute(query)]


async def state_counts(session: Session) -> dict[str, int]:
    rows = await session.execute(sa.select(col(Workload.state), sa.func.count()).group_by(col(Workload.state)))
    return dict(rows.tuples().all())


async def attempt(session: Session, workload: str, number: int) -> Attempt | None:
    found: Attempt | None = await session.get(Attempt, attempt_name(workload, number), populate_existing=True)
    return found


async def attempts_of(session: Session, workloads: Collection[str]) -> dict[str, list[Attempt]]:
    query = sa.select(Attempt).where(among(Attempt.workload, workloads)).order_by(col(Attempt.number))
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in await session.scalars(query):
        found[row.workload].append(row)
    return found


def attempt_name(workload: str, number: int) -> str:
    return f"{workload}/attempts/{number}"


async def set_waiting_reason(session: Session, names: Collection[str], reason: str) -> None:
    """Of those that still wait and did not say so yet."""
    told = sa.text(
        """
        WITH named AS MATERIALIZED (
            SELECT name, state, waiting_reason FROM gpu_scheduler.workload WHERE name = ANY(CAST(:names AS text[]))
            ORDER BY name FOR NO KEY UPDATE
        )
        UPDATE gpu_scheduler.workload AS w SET waiting_reason = :reason, update_time = :now, revision = w.revision + 1
        FROM named WHERE w.name = named.name AND named.state = 'QUEUED' AND named.waiting_reason <> :reason
        """
    )
    await session.execute(told, {"names": list(names), "reason": reason, "now": session.clock.now()})


async def ended_before(session: Session, uids: Collection[str], before: datetime) -> Sequence[str]:
    """Which of `uids` are workloads that ended before that time."""
    query = sa.select(col(Workload.uid)).where(
        col(Workload.uid).in_(uids), col(Workload.state).in_(ENDED), col(Workload.end_time) < before
    )
    return (await session.scalars(query)).all()
