"""Every query about traces: their sums follow each completion and span that comes or goes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages
from gyre_kit.db import Session
from gyre_kit.names import project_of
from gyre_kit.render import enum_name
from sqlalchemy.dialects.postgresql import insert

from services.inference_gateway.models.comparing import ShadowPair
from services.inference_gateway.models.traces import Completion, Span, Trace
from services.inference_gateway.proxy.tracing import session_hash

SEARCH_WINDOW = 20_000  # completions that one search for text reads
MOST_MATCHES = 1000  # traces that one search for text finds
STEPS_SHOWN = 500
SORTABLE = ("start_time", "duration_ms", "total_tokens", "cost_microusd", "error_count")
SUMS = (
    "completion_count", "span_count", "error_count", "prompt_tokens", "completion_tokens", "total_tokens",
    "cost_microusd",
)  # fmt: skip


@dataclass(slots=True)
class Part:
    """What one batch adds to one trace; fields as `Trace` has them."""

    name: str
    project: str
    session: str
    start_time: datetime
    end_time: datetime
    opening: str = ""
    deployment: str = ""
    model_version: str = ""
    completion_count: int = 0
    span_count: int = 0
    error_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost_microusd: float = 0.0

    def add(self, later: Part) -> None:
        """One that began later."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(later, name))
        if later.deployment and (not self.deployment or later.end_time >= self.end_time):
            self.deployment, self.model_version = later.deployment, later.model_version
        self.end_time = max(self.end_time, later.end_time)
        self.session, self.opening = self.session or later.session, self.opening or later.opening

    def values(self) -> dict[str, Any]:
        duration = (self.end_time - self.start_time).total_seconds() * 1000
        return {name: getattr(self, name) for name in self.__slots__} | {"duration_ms": duration}


async def add_completions(session: Session, rows: Sequence[Completion]) -> set[str]:
    """Stores those that are new and returns their names."""
    if not rows:
        return set()
    statement = insert(Completion).on_conflict_do_nothing().returning(Completion.name)
    return set((await session.scalars(statement, [row.model_dump() for row in rows])).all())


async def add_spans(session: Session, rows: Sequence[Span]) -> set[str]:
    """Stores those that are new and returns their names."""
    if not rows:
        return set()
    statement = insert(Span).on_conflict_do_nothing().returning(Span.name)
    return set((await session.scalars(statement, [row.model_dump() for row in rows])).all())


async def add_to_traces(session: Session, parts: Sequence[Part]) -> None:
    """One part a trace. Rows are taken in the order of their names, as everywhere here, so that two who add to the same
    traces cannot wait for each other.
    """
    if not parts:
        return
    new = insert(Trace).excluded
    start, end = sa.func.least(Trace.start_time, new.start_time), sa.func.greatest(Trace.end_time, new.end_time)
    is_newest = sa.and_(new.deployment != "", sa.or_(Trace.deployment == "", new.end_time >= Trace.end_time))
    opens = sa.and_(new.opening != "", sa.or_(Trace.opening == "", new.start_time < Trace.start_time))
    changed = {name: getattr(Trace, name) + new[name] for name in SUMS} | {
        "start_time": start,
        "end_time": end,
        "duration_ms": sa.extract("epoch", end - start) * 1000,
        "session": sa.case((Trace.session == "", new.session), else_=Trace.session),
        "opening": sa.case((opens, new.opening), else_=Trace.opening),
        "deployment": sa.case((is_newest, new.deployment), else_=Trace.deployment),
        "model_version": sa.case((is_newest, new.model_version), else_=Trace.model_version),
    }
    values = [part.values() for part in sorted(parts, key=lambda part: part.name)]
    await session.execute(insert(Trace).on_conflict_do_update(index_elements=["name"], set_=changed), values)


async def trace(session: Session, name: str) -> Trace | None:
    """By its name, or by a completion's id in place of its own."""
    parent, _, identifier = name.partition("/traces/")
    of_completion = sa.select(Completion.trace).where(Completion.name == f"{parent}/completions/{identifier}")
    found: Trace | None = await session.scalar(
        sa.select(Trace).where(sa.or_(Trace.name == name, Trace.name.in_(of_completion)))
    )
    return found


async def steps(session: Session, trace: str) -> tuple[Sequence[Completion], Sequence[Span]]:
    completions = sa.select(Completion).where(Completion.trace == trace).order_by(Completion.create_time)
    spans = sa.select(Span).where(Span.trace == trace).order_by(Span.start_time)
    return (
        (await session.scalars(completions.limit(STEPS_SHOWN))).all(),
        (await session.scalars(spans.limit(STEPS_SHOWN))).all(),
    )


async def trace_page(session: Session, request: Any) -> tuple[pages.Page[Trace], datetime | None]:
    """And the time of the last completion that a search for text looked at, where there are older ones."""
    project = project_of(request.parent)
    query = sa.select(Trace).where(Trace.project == project, *_of_traces(request))
    asked = _of_completions(request)
    stopped_at = None
    if request.query:
        newest_first = _newest_first(project, request, asked)
        window = newest_first.limit(SEARCH_WINDOW).subquery()
        matches = sa.select(window.c.trace).where(_has_text(window.c, request.query)).distinct().limit(MOST_MATCHES)
        query = query.where(Trace.name.in_((await session.scalars(matches)).all()))
        stopped_at = await _end_of(session, newest_first)
    elif asked:
        query = query.where(sa.exists().where(Completion.trace == Trace.name, *asked))
    return await _page(session, query, request), stopped_at


async def _page(session: Session, query: Any, request: Any) -> pages.Page[Trace]:
    """Raises: BadOrder; BadPageToken."""
    column, _, direction = (request.order_by or "start_time desc").partition(" ")
    if column not in SORTABLE or direction not in ("", "asc", "desc"):
        raise pages.BadOrder(given=request.order_by[:80], columns="|".join(SORTABLE))
    asked = type(request)()
    asked.CopyFrom(request)
    asked.ClearField("page_token")
    asked.ClearField("page_size")
    question = asked.SerializeToString(deterministic=True).hex()
    offset, size = pages.decode_offset(request.page_token, question), min(request.page_size or 50, pages.MAX_SIZE)
    total = await session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    by = getattr(Trace, column)
    ordered = query.order_by(by.desc() if direction == "desc" else by.asc(), Trace.name.desc())
    rows = (await session.scalars(ordered.offset(offset).limit(size))).all()
    more = offset + len(rows) < total
    return pages.Page(rows, pages.encode_offset(offset + len(rows), question) if more else "", total)


async def lock_traces(session: Session, names: Iterable[str]) -> None:
    """Before anything of them is deleted: who adds to one meanwhile waits, and then adds to the new sums."""
    query = sa.select(Trace.name).where(Trace.name.in_(sorted(set(names)))).order_by(Trace.name)
    await session.execute(query.with_for_update())


async def recount(session: Session, names: Sequence[str]) -> None:
    """Sums of locked traces, anew from what is left of them; those of which nothing is left go."""
    if not names:
        return
    await session.execute(sa.delete(Trace).where(Trace.name.in_(names)))
    of_completions = sa.select(Completion).where(Completion.trace.in_(names)).subquery()
    parts = [*await _sums_of_completions(session, of_completions), *await _sums_of_spans(session, names)]
    for chunk in ([part for part in parts if part.completion_count], [part for part in parts if part.span_count]):
        await add_to_traces(session, chunk)


async def openings(session: Session, names: Sequence[str]) -> Mapping[str, list[dict[str, Any]]]:
    """The messages of the first completion of each trace."""
    query = (
        sa.select(Completion.trace, Completion.messages)
        .where(Completion.trace.in_(names))
        .order_by(Completion.trace, Completion.create_time)
        .distinct(Completion.trace)
    )
    return dict((await session.execute(query)).all())


async def set_opening(session: Session, name: str, opening: str) -> None:
    await session.execute(sa.update(Trace).where(Trace.name == name).values(opening=opening))


async def copies_of(session: Session, names: Sequence[str]) -> dict[str, str]:
    """What shadows answered to the same prompts, each with its trace."""
    query = sa.select(Completion.name, Completion.trace).where(Completion.shadow_of.in_(names))
    return dict((await session.execute(query.where(Completion.shadow_of != ""))).all())


async def delete_completions(session: Session, names: Sequence[str]) -> list[str]:
    """With what was compared of them. Returns those that clients had got."""
    gone = sa.delete(Completion).where(Completion.name.in_(names)).returning(Completion.name, Completion.shadow_of)
    rows = (await session.execute(gone)).all()
    compared = sa.or_(ShadowPair.completion.in_(names), ShadowPair.shadow_completion.in_(names))
    await session.execute(sa.delete(ShadowPair).where(compared))
    return [name for name, shadow_of in rows if not shadow_of]


async def delete_old_pairs(session: Session, project: str, time: datetime, limit: int) -> int:
    """What was compared before `time`, also of completions that nobody kept. Returns how many that were."""
    old = sa.select(ShadowPair.name).where(ShadowPair.project == project, ShadowPair.create_time < time)
    gone: Any = await session.execute(sa.delete(ShadowPair).where(ShadowPair.name.in_(old.limit(limit))))
    return int(gone.rowcount)


async def delete_spans(session: Session, names: Sequence[str]) -> None:
    await session.execute(sa.delete(Span).where(Span.name.in_(names)))


async def of_trace(session: Session, found: Trace, limit: int) -> tuple[dict[str, str], dict[str, str]]:
    """Completions and spans of a trace, each with it; at most `limit` of each."""
    return await _names(session, found.project, lambda table, _: table.trace == found.name, limit)


async def traces_of_session(session: Session, project: str, given: str) -> Sequence[str]:
    query = sa.select(Trace.name).where(Trace.project == project, Trace.session == session_hash(project, given))
    return (await session.scalars(query)).all()


async def of_session(
    session: Session, project: str, given: str, its_traces: Sequence[str], limit: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Completions and spans of a session, each with its trace; at most `limit` of each. A tool's run rarely says which
    session it is of: what says none is of its trace's.
    """
    hashed = session_hash(project, given)

    def is_of(table: Any, _: Any) -> Any:
        return sa.or_(table.session == hashed, sa.and_(table.session == "", table.trace.in_(its_traces)))

    return await _names(session, project, is_of, limit)


async def older_than(
    session: Session, project: str, time: datetime, limit: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Completions and spans that ended, or began, before `time`, oldest first, each with its trace."""
    return await _names(session, project, lambda _, column: column < time, limit)


async def rate(session: Session, completion: str, rating: str) -> None:
    await session.execute(sa.update(Completion).where(Completion.name == completion).values(rating=rating))


# -- below -----------------------------------------------------------------------------------------------------------


async def _names(session: Session, project: str, of: Any, limit: int) -> tuple[dict[str, str], dict[str, str]]:
    found: list[dict[str, str]] = []
    for table, column in ((Completion, Completion.create_time), (Span, Span.start_time)):
        query = sa.select(table.name, table.trace).where(table.project == project, of(table, column))
        found.append(dict((await session.execute(query.order_by(column).limit(limit))).all()))
    return found[0], found[1]


def _of_traces(request: Any) -> list[Any]:
    wanted: list[Any] = []
    if request.HasField("start_time"):
        wanted.append(Trace.start_time >= _time(request.start_time))
    if request.HasField("end_time"):
        wanted.append(Trace.start_time < _time(request.end_time))
    if request.session:
        wanted.append(Trace.session == session_hash(project_of(request.parent), request.session))
    if request.with_error:
        wanted.append(Trace.error_count > 0)
    if request.min_total_tokens:
        wanted.append(Trace.total_tokens >= request.min_total_tokens)
    return wanted


def _of_completions(request: Any) -> list[Any]:
    wanted: list[Any] = []
    for field in ("deployment", "model_version", "finish_reason", "api_key"):
        if value := getattr(request, field):
            wanted.append(getattr(Completion, field) == value)
    if request.min_duration_ms:
        wanted.append(Completion.duration_ms >= request.min_duration_ms)
    if request.prompt:
        is_version = sa.func.starts_with(Completion.prompt, f"{request.prompt}/versions/")
        wanted.append(sa.or_(Completion.prompt == request.prompt, is_version))
    if request.rating:
        wanted.append(Completion.rating == enum_name(request, "rating"))
    return wanted


def _newest_first(project: str, request: Any, asked: list[Any]) -> Any:
    """The completions that meet all conditions but the text: PostgreSQL's own search cuts texts into words,
    which Chinese is not written in, so texts are read, and how many of them has a bound.
    """
    times = []
    if request.HasField("start_time"):
        times.append(Completion.create_time >= _time(request.start_time))
    if request.HasField("end_time"):
        times.append(Completion.create_time < _time(request.end_time))
    query = sa.select(Completion.trace, Completion.messages, Completion.answer, Completion.create_time)
    return query.where(Completion.project == project, *times, *asked).order_by(Completion.create_time.desc())


async def _end_of(session: Session, newest_first: Any) -> datetime | None:
    """The time at which a search stops; None where it sees all."""
    query = newest_first.with_only_columns(Completion.create_time).offset(SEARCH_WINDOW).limit(1)
    found: datetime | None = await session.scalar(query)
    return found


def _has_text(columns: Any, text: str) -> Any:
    """Letters A to Z in either case, all others as they are: `lower` by the collation C touches no others, and is many
    times faster than one that knows every alphabet."""
    in_json = json.dumps(text, ensure_ascii=False)[1:-1]
    return sa.or_(_position(columns.answer, text) > 0, _position(sa.cast(columns.messages, sa.Text), in_json) > 0)


def _position(column: Any, text: str) -> Any:
    return sa.func.strpos(sa.func.lower(sa.collate(column, "C")), _ascii_lower(text))


def _ascii_lower(text: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in text)


def _time(given: Any) -> datetime:
    time: datetime = given.ToDatetime(tzinfo=UTC)
    return time


async def _sums_of_completions(session: Session, of: Any) -> list[Part]:
    start = of.c.create_time - of.c.duration_ms * sa.text("interval '1 millisecond'")
    used = [sa.func.sum(sa.cast(of.c.usage[name].as_string(), sa.BigInteger)) for name in SUMS[3:6]]
    newest = [
        sa.func.array_agg(sa.text(f"{name} ORDER BY create_time DESC")) for name in ("deployment", "model_version")
    ]
    query = sa.select(
        of.c.trace, of.c.project, sa.func.max(of.c.session), sa.func.min(start), sa.func.max(of.c.create_time),
        *newest, sa.func.count(), sa.func.count().filter(of.c.error != ""), *used, sa.func.sum(of.c.cost_microusd),
    ).group_by(of.c.trace, of.c.project)  # fmt: skip
    return [
        Part(
            name=row[0], project=row[1], session=row[2], start_time=row[3], end_time=row[4],
            deployment=row[5][0], model_version=row[6][0],
            completion_count=row[7], error_count=row[8], prompt_tokens=int(row[9] or 0), completion_tokens=int(row[10] or 0),
            total_tokens=int(row[11] or 0), cost_microusd=row[12],
        )
        for row in await session.execute(query)
    ]  # fmt: skip


async def _sums_of_spans(session: Session, names: Sequence[str]) -> list[Part]:
    end = Span.start_time + Span.duration_ms * sa.text("interval '1 millisecond'")
    query = (
        sa.select(
            Span.trace, Span.project, sa.func.max(Span.session), sa.func.min(Span.start_time), sa.func.max(end),
            sa.func.count(), sa.func.count().filter(Span.error != ""),
        )
        .where(Span.trace.in_(names))
        .group_by(Span.trace, Span.project)
    )  # fmt: skip
    return [
        Part(
            name=row[0], project=row[1], session=row[2], start_time=row[3], end_time=row[4],
            span_count=row[5], error_count=row[6],
        )
        for row in await session.execute(query)
    ]  # fmt: skip
