"""Use cases: usage and cost in groups, rolled up by day, so that a long period reads days and not attempts.

What a report counts: whole days from the roll-ups, attempts that no roll-up knows yet by themselves, and the two ends
of the period that are no whole days from the attempts that touch them. The sum is exact, whenever roll-ups were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.pages import BadOrder
from gyre_kit.periods import Period

from services.gpu_scheduler import store as scheduler_store
from services.gpu_scheduler.accounting import store
from services.gpu_scheduler.accounting.amounts import MICROSECOND, Key, Sums, add, whole_days

GROUPS = ("day", *Key._fields)
MEASURES = ("held_seconds", "core_seconds", "card_seconds", "cost_microusd", "attempt_count", "preemption_count")
ROLLED_UP_AT_ONCE = 500  # attempts a transaction


class UnknownGroup(Invalid):
    """Usage is grouped by day, project, user, queue, flavor and kind."""


@dataclass(frozen=True)
class Row:
    """One group; what it is not grouped by is missing in `group`."""

    group: Mapping[str, Any]
    sums: Sums

    def value(self, column: str) -> Any:
        return getattr(self.sums, column) if column in MEASURES else self.group.get(column, "")


async def usage(session: Session, period: Period, terms: store.Terms, groups: Sequence[str]) -> list[Row]:
    """What was held in `period`, of all that the caller may see and that fits `terms`, one row for each group."""
    now = session.clock.now()
    days, edges = whole_days(period, now)
    await store.freeze_roll_ups(session)
    found = await store.day_sums(session, days, terms, groups)
    sums: dict[tuple[datetime, Key], Sums] = {}
    add(sums, await store.not_rolled_up(session, days, terms), days, now)
    for edge in edges:
        add(sums, await store.held_within(session, edge, terms), edge, now)
    for (day, key), amounts in sums.items():
        values = {"day": day, **key._asdict()}
        group = tuple(values[name] for name in groups)
        found[group] = found.get(group, Sums()) + amounts
    return [Row(dict(zip(groups, group, strict=True)), amounts) for group, amounts in found.items()]


def total(rows: Sequence[Row]) -> Sums:
    return sum((row.sums for row in rows), Sums())


async def roll_up(session: Session) -> int:
    """Adds ended attempts to their days, each once: its mark and its amounts are one transaction. Returns how many."""
    await scheduler_store.serialise(session, "roll_up")
    ended = await store.take_ended(session, ROLLED_UP_AT_ONCE)
    sums: dict[tuple[datetime, Key], Sums] = {}
    now = session.clock.now()
    for held in ended:
        lifetime = Period(held.begin, max(held.begin, held.end or now) + MICROSECOND)
        add(sums, [held], lifetime, now)
    await store.add_to_days(session, sums)
    return len(ended)


def groups_of(text: str) -> list[str]:
    """`["day", "queue"]` of `day, queue`. Raises: UnknownGroup."""
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    if unknown := [each for each in wanted if each not in GROUPS]:
        raise UnknownGroup(field="group_by", given=unknown[0][:80], allowed="|".join(GROUPS))
    return list(dict.fromkeys(wanted))


def ordered(rows: Sequence[Row], groups: Sequence[str], order_by: str) -> list[Row]:
    """By day and then by what cost most, unless `order_by` says otherwise. Raises: BadOrder."""
    by_group = sorted(rows, key=lambda row: tuple(str(value) for value in row.group.values()))
    words = order_by.split()
    if not words:
        by_cost = sorted(by_group, key=lambda row: -row.sums.cost)
        return sorted(by_cost, key=lambda row: row.group["day"]) if "day" in groups else by_cost
    columns = (*groups, *MEASURES)
    if words[0] not in columns or words[1:] not in ([], ["asc"], ["desc"]):
        raise BadOrder(given=order_by[:80], columns="|".join(columns))
    return sorted(by_group, key=lambda row: row.value(words[0]), reverse=words[1:] == ["desc"])


def terms_of(filter: str, allowed: Sequence[str]) -> dict[str, str]:
    """The terms of an AIP filter; a project is given by its resource name. Raises: BadFilter."""
    terms = dict(resources.parse_filter(filter))
    for field in terms:
        if field not in allowed:
            raise resources.BadFilter(field=field, allowed="|".join(allowed))
    if "project" in terms:
        terms["project"] = terms["project"].removeprefix("projects/")
    return terms


def page_of(request: Any) -> tuple[int, int, str]:
    """(offset, size, what was asked), for lists that the database does not page. Raises: BadPageToken."""
    question = type(request)()
    question.CopyFrom(request)
    question.ClearField("page_token")
    question.ClearField("page_size")
    asked = question.SerializeToString(deterministic=True).hex()
    size = min(request.page_size or pages.DEFAULT_SIZE, pages.MAX_SIZE)
    return pages.decode_offset(request.page_token, asked), size, asked


def next_token(offset: int, size: int, total: int, asked: str) -> str:
    return pages.encode_offset(offset + size, asked) if offset + size < total else ""
