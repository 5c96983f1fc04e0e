"""How `admission_world.py` writes what ends: as the reconcile loop does, or the same rows in a few statements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit.db import Session
from gyre_kit.outbox import emit_all
from sqlmodel import col

from services.gpu_scheduler import facts, service, store
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import HOLDING, Attempt, Workload, WorkloadState
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.usage import usage_of

COMPONENT = "gpu_scheduler"
STOPPED = -15  # by SIGTERM


class OneByOne:
    """As the reconcile loop writes them. Each tells whom it found in the state that it was to be in, once it was locked."""

    async def end(self, session: Session, names: Collection[str], settings: Settings) -> list[str]:
        """They were launched, ran, and ended well."""
        rows = await _locked(session, names, HOLDING)
        for row in rows:
            if row.state == WorkloadState.ADMITTED:
                row.state = WorkloadState.RUNNING
        return await self._ended(session, rows, Ended(code=0), settings)

    async def stop(self, session: Session, names: Collection[str], settings: Settings) -> list[str]:
        """They went when they were asked to, for somebody else."""
        rows = await _locked(session, names, {WorkloadState.STOPPING})
        return await self._ended(session, rows, Ended(code=STOPPED, asked_to_stop=True), settings)

    async def _ended(self, session: Session, rows: Sequence[Workload], ended: Ended, settings: Settings) -> list[str]:
        attempts = await store.attempts_of(session, [row.name for row in rows])
        for row in rows:
            await service.attempt_ended(session, row, attempts[row.name][-1], ended, settings)
        return [row.name for row in rows]


class InBulk:
    """The same rows in a few statements."""

    async def end(self, session: Session, names: Collection[str], settings: Settings) -> list[str]:
        now = session.clock.now()
        ended = await self._ended(session, WORKLOAD_ENDED, names, now)
        attempts: dict[str, list[Any]] = {row.name: [] for row in ended}
        await self._attempts_ended(session, ATTEMPT_ENDED, ended, now)
        for each in await session.execute(sa.select(Attempt.__table__).where(store.among(Attempt.workload, attempts))):
            attempts[each.workload].append(each)
        usages = {name: usage_of(each, now) for name, each in attempts.items()}
        await emit_all(session, {row.name: facts.finished(row, usages[row.name], now) for row in ended})
        return list(attempts)

    async def stop(self, session: Session, names: Collection[str], settings: Settings) -> list[str]:
        now = session.clock.now()
        stopped = await self._ended(session, WORKLOAD_STOPPED, names, now)
        await self._attempts_ended(session, ATTEMPT_STOPPED, stopped, now)
        await emit_all(session, {row.name: facts.preempted(row, now) for row in stopped})
        return [row.name for row in stopped]

    async def _ended(
        self, session: Session, statement: str, names: Collection[str], now: datetime
    ) -> Sequence[sa.Row[Any]]:
        return (await session.execute(sa.text(statement), {"now": now, "names": list(names)})).all()

    async def _attempts_ended(
        self, session: Session, statement: str, ended: Sequence[sa.Row[Any]], now: datetime
    ) -> None:
        names = [row.name for row in ended]
        attempts = [store.attempt_name(row.name, row.attempt) for row in ended]
        await session.execute(sa.text(statement), {"now": now, "names": attempts})
        await session.execute(sa.text(CARDS_FREE), {"names": names})


async def _locked(session: Session, names: Collection[str], states: Collection[str]) -> Sequence[Workload]:
    query = sa.select(Workload).where(store.among(Workload.name, names), col(Workload.state).in_(states))
    return (await session.scalars(query.order_by(col(Workload.name)).with_for_update(key_share=True))).all()


NAMED = f"""
    WITH named AS MATERIALIZED (
        SELECT name, state FROM {COMPONENT}.workload WHERE name = ANY(CAST(:names AS text[]))
        ORDER BY name FOR NO KEY UPDATE
    )
    UPDATE {COMPONENT}.workload AS w SET update_time = :now, revision = revision + 1,
        ran_seconds = ran_seconds + extract(epoch FROM :now - admit_time)
"""
WORKLOAD_ENDED = f"""
    {NAMED}, state = 'FINISHED', end_time = :now, exit_code = 0
    FROM named WHERE w.name = named.name AND named.state IN ('ADMITTED', 'STARTING', 'RUNNING', 'STOPPING')
    RETURNING w.name, w.kind, w.owner, w.attempt
"""
WORKLOAD_STOPPED = f"""
    {NAMED}, state = 'QUEUED', exit_code = {STOPPED}, stop_reason = '', waiting_reason = 'PREEMPTED',
        preemptions = preemptions + 1
    FROM named WHERE w.name = named.name AND named.state = 'STOPPING'
    RETURNING w.name, w.kind, w.owner, w.attempt, w.preemption_rule, w.preempted_for, 'PREEMPTION' AS stop_reason
"""
ATTEMPT_ENDED = f"""
    UPDATE {COMPONENT}.attempt SET end_time = :now, exit_code = 0, sample_time = :now
    WHERE name = ANY(CAST(:names AS text[]))
"""
ATTEMPT_STOPPED = f"""
    UPDATE {COMPONENT}.attempt AS a SET end_time = :now, exit_code = {STOPPED}, sample_time = :now, preempted = true,
        end_reason = w.preemption_rule, preempted_for = w.preempted_for
    FROM {COMPONENT}.workload AS w WHERE w.name = a.workload AND a.name = ANY(CAST(:names AS text[]))
"""
CARDS_FREE = f"UPDATE {COMPONENT}.card SET workload = '' WHERE workload = ANY(CAST(:names AS text[]))"
