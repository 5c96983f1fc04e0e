"""Priorities that have a name (Kueue: WorkloadPriorityClass). Operators make them; whoever may submit may name one, up to
the bound of its cluster queue."""

from __future__ import annotations

from collections.abc import Collection

from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, NotFound
from gyre_kit.names import slug
from gyre_kit.resources import EtagMismatch

from services.gpu_scheduler import store
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.models import PriorityClass

UPDATABLE = ("value", "description")
MOST = 1_000_000_000  # as in Kubernetes; so a queue's and its work's together are still a 32-bit number
LONGEST = 500  # characters of a description


class PriorityclassNotFound(NotFound):
    """There is no priority class of that name: `gyre priority-classes list` has them, and an operator creates more."""


class PriorityClassExists(AlreadyExists):
    """There is a priority class of that name already."""


class BadPriorityClass(Invalid):
    """A value is a number of at most a thousand million either way; a description has at most 500 characters, no NUL."""


async def create(session: Session, class_id: str, value: int, description: str) -> PriorityClass:
    """Raises: BadName; BadPriorityClass; PriorityClassExists."""
    name = f"priorityClasses/{slug(class_id)}"
    _check(value, description)
    await store.serialise(session, "priority classes")
    if await session.get(PriorityClass, name) is not None:
        raise PriorityClassExists(name=name)
    row = PriorityClass(name=name, value=value, description=description)
    session.add(row)
    await session.flush()
    return row


async def get(session: Session, name: str, etag: str = "") -> PriorityClass:
    """Raises: PriorityclassNotFound; EtagMismatch."""
    row: PriorityClass | None = await session.get(
        PriorityClass, name, with_for_update=bool(etag), populate_existing=True
    )
    if row is None:
        raise PriorityclassNotFound(name=name[:120])
    if etag and etag != str(row.revision):
        raise EtagMismatch(name=name, given=etag, current=str(row.revision))
    return row


async def update(
    session: Session, name: str, fields: Collection[str], *, etag: str, value: int, description: str
) -> PriorityClass:
    """Changes `fields`, for what is submitted from then on.

    Raises: PriorityclassNotFound; EtagMismatch; FieldImmutable; BadPriorityClass.
    """
    for field in fields:
        if field not in UPDATABLE:
            raise FieldImmutable(field=field, changeable="|".join(UPDATABLE))
    _check(value, description)
    row = await get(session, name, etag)
    if "value" in fields:
        row.value = value
    if "description" in fields:
        row.description = description
    row.revision += 1
    await session.flush()
    return row


async def delete(session: Session, name: str, etag: str) -> None:
    """Work that was submitted with it keeps its priority. Raises: PriorityclassNotFound; EtagMismatch."""
    await session.delete(await get(session, name, etag))
    await session.flush()


def _check(value: int, description: str) -> None:
    if abs(value) > MOST:
        raise BadPriorityClass(field="value", given=value)
    if len(description) > LONGEST or "\0" in description:
        raise BadPriorityClass(field="description", given=len(description))
