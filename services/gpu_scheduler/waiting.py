"""Why a workload waits, as its owner is told: the books know, and nobody is told what another project runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.db import Database
from gyre_kit.names import project_of

from services.gpu_scheduler import store
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions import shortage
from services.gpu_scheduler.decisions.explain import Explanation, explain, sentence
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.models import Workload, WorkloadState


@dataclass(frozen=True)
class Told:
    """`position` counts from 1 in its cluster queue; 0: it is not considered. `earliest` None: no end is known.

    `is_estimate`: not all of those ends are sure; some are how long such work took before.
    """

    reason: str
    message: str = ""
    position: int = 0
    earliest: datetime | None = None
    is_estimate: bool = False


def code(books: Books, row: Workload) -> str:
    """The reason alone: what a list shows of each."""
    if row.state != WorkloadState.QUEUED or books.cluster is None:
        return row.waiting_reason
    if row.name in books.aside:
        return books.aside[row.name]
    entry = books.cluster.waiting.get(row.name)
    return shortage.why(books.cluster, entry[2]).reason if entry else row.waiting_reason


async def told(db: Database, books: Books, row: Workload) -> Told:
    """All that is known of it. As far as the books are behind the tables, what the tables say."""
    if row.state != WorkloadState.QUEUED or books.cluster is None:
        return Told(row.waiting_reason)
    if row.name in books.aside:
        return Told(books.aside[row.name], _aside(books.aside[row.name], row))
    entry = books.cluster.waiting.get(row.name)
    if entry is None:
        return Told(row.waiting_reason)
    now = datetime.now(UTC).timestamp()
    found = explain(books.cluster, row.name, now)
    names = await _names(db, found)
    message = sentence(found, entry[2], lambda name: names.get(name, ""), _clock)
    earliest = datetime.fromtimestamp(found.earliest, UTC) if found.earliest is not None else None
    return Told(found.reason, message, found.position, earliest, found.is_estimate)


def _aside(reason: Reason, row: Workload) -> str:
    if reason is Reason.WORKLOAD_HELD:
        return "It is held; release it to have it considered."
    if reason is Reason.QUEUE_HELD:
        return "Its queue is held and admits nothing."
    if reason is Reason.BUDGET_EXHAUSTED:
        return "Its queue has used up its budget; it is considered again when the next period begins, or with a larger one."
    until = _clock(row.not_before.timestamp()) if row.not_before else "soon"
    return f"Its last attempt failed; the next one may begin at {until}. {row.failure_message}".strip()


async def _names(db: Database, found: Explanation) -> dict[str, str]:
    """What to call those whose ends it waits for, as far as the asker may see them."""
    visible = [step.workload for step in found.ends if caller().may_see(project_of(step.workload))]
    if not visible:
        return {}
    with acting_as(SYSTEM):
        async with db.transaction() as session:
            return {name: f"{kind.lower()} {number}" for name, kind, number in await store.numbers(session, visible)}


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
