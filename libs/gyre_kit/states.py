"""The only way to change a state; the event cannot be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from google.protobuf.message import Message

from gyre_kit.db import Session
from gyre_kit.errors import Precondition
from gyre_kit.outbox import emit


class IllegalTransition(Precondition):
    """It cannot go from the state that it is in to the one asked for."""


class Stateful(Protocol):
    """A row with a state, and beside it the literal table of what may follow what."""

    name: str
    state: Any
    TRANSITIONS: ClassVar[Mapping[Any, frozenset[Any]]]


async def transition(session: Session, row: Stateful, to: StrEnum, event: Message | None = None) -> None:
    """Moves `row` to `to` and writes `event` to the outbox, all in the caller's transaction.

    `event` is None only for steps that ARCHITECTURE's table of events does not list.
    Raises: IllegalTransition if the row's TRANSITIONS do not allow it.
    """
    if to not in row.TRANSITIONS[row.state]:
        raise IllegalTransition(name=row.name, at=row.state, to=to)
    row.state = to
    await session.flush()  # the aggregate's row is locked before its event gets a place in the outbox
    if event is not None:
        await emit(session, row.name, event)
