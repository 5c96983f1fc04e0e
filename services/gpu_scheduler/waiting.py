"""Why a workload waits, as its owner is told: the books know, and nobody is told what another project runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.db import Database
from gyre_kit.names import project_of

from services.gpu_scheduler import store
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions import shortage
from services.gpu_scheduler.decisions.explain import NAMED_ENDS, Explanation, explain, sentence
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


def codes(books: Books, rows: Sequence[Workload]) -> list[str]:
    """The reasons alone, what a list shows of each. Found out once for all of a queue that ask for the same: it takes a
    look at every node."""
    known: dict[Hashable, str] = {}
    return [_code(books, row, known) for row in rows]


def _code(books: Books, row: Workload, known: dict[Hashable, str]) -> str:
    cluster = books.cluster
    if row.state != WorkloadState.QUEUED or cluster is None:
        return row.waiting_reason
    if row.name in books.aside:
        return books.aside[row.name]
    entry = cluster.waiting.get(row.name)
    if entry is None:
        return row.waiting_reason
    workload = entry[2]
    alike = (workload.queue, workload.shape, row.name in cluster.promises)
    if alike not in known:
        known[alike] = shortage.why(cluster, workload).reason
    return known[alike]


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
    """What to call those whose ends are told, as far as the asker may see them."""
    told = [step.workload for step in found.ends[:NAMED_ENDS]]
    visible = [name for name in told if caller().may_see(project_of(name))]
    if not visible:
        return {}
    with acting_as(SYSTEM):
        async with db.transaction() as session:
            return {name: f"{kind.lower()} {number}" for name, kind, number in await store.numbers(session, visible)}


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
