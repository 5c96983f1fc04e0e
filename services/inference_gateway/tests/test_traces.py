"""Completions and spans as traces: what belongs together, what is found, what is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from gyre.feedback.v1 import feedback_pb2
from gyre.feedback.v1.events_pb2 import FeedbackSubmitted
from gyre.inference_gateway.v1.trace_service_pb2 import ListTracesRequest
from gyre_kit import migrate, pages
from gyre_kit.auth import ALL_PROJECTS, Identity, Role, acting_as
from gyre_kit.db import Database, Session
from gyre_kit.testing import ENGINEER, PROJECT, STRANGER, ManualClock, Platform, outbox_of

from services.inference_gateway import store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.main import app
from services.inference_gateway.models.comparing import ShadowPair
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.models.traces import Completion, Span
from services.inference_gateway.proxy.tracing import session_hash
from services.inference_gateway.traces import service as traces
from services.inference_gateway.traces import store as trace_store
from services.inference_gateway.traces.retention import forget_old

EVERYBODY = Identity(subject="services/inference_gateway", project=ALL_PROJECTS, role=Role.ADMIN)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
TRACE = f"projects/{PROJECT}/traces/{'a' * 32}"


def completion(number: int, trace: str = TRACE, **fields: Any) -> Completion:
    """One that took a second and ended `number` minutes after noon."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    given = {
        "messages": [{"role": "user", "content": f"question {number}"}], "answer": f"answer {number}",
        "deployment": f"projects/{PROJECT}/deployments/hotline", "finish_reason": "stop", "duration_ms": 1000.0,
        "cost_microusd": 2.0, "usage": usage, "span_id": f"{number:016x}",
    }  # fmt: skip
    ended = NOON + timedelta(minutes=number)
    name = f"projects/{PROJECT}/completions/chatcmpl-{number}"
    return Completion(
        name=name, project=PROJECT, created_by="k", trace=trace, create_time=ended, update_time=ended,
        **(given | fields),
    )  # fmt: skip


def own(number: int, **fields: Any) -> Completion:
    """One in a trace of its own."""
    return completion(number, f"projects/{PROJECT}/traces/{number:032x}", **fields)


def span(number: int, trace: str = TRACE, **fields: Any) -> Span:
    start = NOON + timedelta(minutes=number)
    given = {"span_id": f"{number:016x}", "start_time": start, "duration_ms": 500.0, "kind": "TOOL", "title": "look up"}
    return Span(name=f"{trace}/spans/{number:016x}", project=PROJECT, trace=trace, **(given | fields))


async def found(db: Session, /, **wanted: Any) -> list[str]:
    """Last digits of the traces that a list shows."""
    page, _ = await trace_store.trace_page(db, ListTracesRequest(parent=f"projects/{PROJECT}", **wanted))
    return [row.name[-1] for row in page.rows]


async def test_a_traces_sums_follow_what_comes_and_what_goes(session: Session) -> None:
    await traces.add(session, [completion(2), completion(1, error="upstream_error")], [span(0)])
    await traces.add(session, [completion(2)], [span(0), span(3)])  # known ones count once
    whole = await traces.get(session, TRACE)
    trace = whole.trace
    assert (trace.completion_count, trace.span_count, trace.error_count) == (2, 2, 1)
    assert (trace.total_tokens, trace.cost_microusd, trace.opening) == (30, 4.0, "question 1")
    assert (trace.start_time, trace.duration_ms) == (NOON, 180_500.0)

    await traces.delete_completion(session, completion(1).name)
    session.expunge_all()
    trace = (await traces.get(session, TRACE)).trace
    assert (trace.completion_count, trace.span_count, trace.error_count) == (1, 2, 0)
    assert (trace.total_tokens, trace.opening, trace.duration_ms) == (15, "question 2", 180_500.0)
    assert trace.deployment == f"projects/{PROJECT}/deployments/hotline"


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_trace_knows_who_answered_though_a_step_ended_later(session: Session, at_once: bool) -> None:
    long = span(0, duration_ms=600_000.0)
    if at_once:
        await traces.add(session, [completion(1)], [long])
    else:
        await traces.add(session, spans=[long])
        await traces.add(session, [completion(1)])
    assert (await traces.get(session, TRACE)).trace.deployment == completion(1).deployment


async def test_a_trace_is_found_by_one_of_its_completions(session: Session) -> None:
    await traces.add(session, [completion(1), completion(2)])
    by_completion = await traces.get(session, f"projects/{PROJECT}/traces/chatcmpl-2")
    assert by_completion.trace.name == TRACE and len(by_completion.completions) == 2


async def test_a_trace_without_anything_in_it_is_gone(session: Session) -> None:
    await traces.add(session, [completion(1)])
    await traces.delete_completion(session, completion(1).name)
    with pytest.raises(traces.TraceNotFound):
        await traces.get(session, TRACE)


async def test_lists_are_narrowed_by_what_is_true_of_one_completion(session: Session) -> None:
    version = f"projects/{PROJECT}/models/m/versions/2"
    await traces.add(
        session,
        [
            own(1, duration_ms=5000.0),
            own(2, model_version=version, finish_reason="length"),
            own(3, error="upstream_timeout", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 900}),
        ],
    )
    assert await found(session) == ["3", "2", "1"]
    assert await found(session, min_duration_ms=4000) == ["1"]
    assert await found(session, model_version=version) == ["2"] and await found(session, finish_reason="length") == [
        "2"
    ]
    assert await found(session, with_error=True) == ["3"] and await found(session, min_total_tokens=100) == ["3"]
    assert await found(session, min_duration_ms=4000, model_version=version) == []
    assert (await found(session, order_by="total_tokens desc"))[0] == "3"
    assert await found(session, deployment=f"projects/{PROJECT}/deployments/other") == []
    with pytest.raises(pages.BadOrder):
        await found(session, order_by="opening desc")


async def test_a_key_finds_what_was_asked_with_it(session: Session) -> None:
    key = f"projects/{PROJECT}/keys/{'0' * 26}"
    await traces.add(session, [own(1, api_key=key, duration_ms=5000.0), own(2, api_key=key), own(3)])
    assert await found(session, api_key=key) == ["2", "1"]
    assert await found(session, api_key=key, min_duration_ms=4000) == ["1"]
    assert await found(session, api_key=f"{key[:-1]}1") == []


async def test_times_bound_a_list(session: Session) -> None:
    await traces.add(session, [own(1), own(2), own(3)])
    at = Timestamp()
    at.FromDatetime(NOON + timedelta(minutes=2))
    assert await found(session, start_time=at) == ["3"] and await found(session, end_time=at) == ["2", "1"]


@pytest.mark.parametrize("text", ["跳闸", 'QUOTED "word"', "back\\slash", "100%", "answer_2", "line\nbreak"])
async def test_text_is_found_in_questions_and_answers_of_any_language(session: Session, text: str) -> None:
    asked = [{"role": "user", "content": f"请问{text}怎么办"}]
    await traces.add(session, [own(1), own(3, messages=asked), own(4, answer=f"so: {text.lower()}!")])
    assert await found(session, query=text) == ["4", "3"]


async def test_a_search_says_where_it_stopped(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_store, "SEARCH_WINDOW", 2)
    await traces.add(session, [own(number) for number in (1, 2, 3, 4)])
    request = ListTracesRequest(parent=f"projects/{PROJECT}", query="question")
    page, stopped_at = await trace_store.trace_page(session, request)
    assert [row.name[-1] for row in page.rows] == ["4", "3"] and stopped_at == NOON + timedelta(minutes=2)
    request.end_time.FromDatetime(stopped_at + timedelta(microseconds=1))
    page, stopped_at = await trace_store.trace_page(session, request)
    assert [row.name[-1] for row in page.rows] == ["2", "1"] and stopped_at is None


async def test_an_answer_is_found_by_what_people_said_of_it(session: Session) -> None:
    await traces.add(session, [own(1), own(2)])
    event = FeedbackSubmitted(
        name=f"projects/{PROJECT}/feedback/1", completion=own(2).name, rating=feedback_pb2.Feedback.RATING_THUMBS_DOWN
    )
    await app.handlers[FeedbackSubmitted](session, event)
    assert await found(session, rating="RATING_THUMBS_DOWN") == ["2"]
    assert await found(session, rating="RATING_THUMBS_UP") == []


async def test_a_session_is_found_and_forgotten_by_its_name_or_its_hash(session: Session) -> None:
    kept = session_hash(PROJECT, "mrs-smith")
    await traces.add(session, [own(1, session=kept), own(2), completion(3, session=kept)])
    await traces.add(session, [completion(5, session=session_hash(PROJECT, "mr-jones"))], [span(4)])
    assert await found(session, session="mrs-smith") == await found(session, session=kept) == ["a", "1"]
    assert "smith" not in kept

    assert await traces.delete_session(session, PROJECT, "mrs-smith") == (2, 1)
    session.expunge_all()
    assert await found(session) == ["a", "2"]
    assert (await traces.get(session, TRACE)).trace.completion_count == 1
    with pytest.raises(traces.SessionNotFound):
        await traces.delete_session(session, PROJECT, "mrs-smith")


async def test_what_is_too_old_goes_in_batches(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "BATCH", 2)
    await traces.add(session, [own(number) for number in (1, 2, 3, 4)], [span(1), span(6)])
    limit = NOON + timedelta(minutes=4)
    assert await traces.delete_older(session, PROJECT, limit)
    assert not await traces.delete_older(session, PROJECT, limit)
    assert await found(session) == ["a", "4"]


def pair(number: int, shadow: str = "") -> ShadowPair:
    """What a shadow made of completion `number`; `shadow` is the name of its completion."""
    of = f"projects/{PROJECT}/deployments/hotline/shadows/t1"
    ended = NOON + timedelta(minutes=number)
    return ShadowPair(
        name=f"{of}/pairs/chatcmpl-{number}", project=PROJECT, shadow=of, created_by="k", create_time=ended,
        update_time=ended, completion=completion(number).name, shadow_completion=shadow,
    )  # fmt: skip


async def left(session: Session) -> tuple[list[str], list[str]]:
    """Ids of completions and of pairs."""
    rows = [(await session.scalars(sa.select(table.name))).all() for table in (Completion, ShadowPair)]
    return sorted(each.rpartition("-")[2] for each in rows[0]), sorted(each.rpartition("-")[2] for each in rows[1])


@pytest.mark.parametrize("way", ["completion", "trace", "session"])
async def test_what_shadows_were_asked_and_answered_goes_with_the_completion_that_they_copied(
    session: Session, way: str
) -> None:
    hashed = session_hash(PROJECT, "mrs-smith")
    copy = own(8, shadow_of=completion(1).name)
    await traces.add(session, [own(1, session=hashed), own(2), copy])
    await traffic_store.add_pairs(session, [pair(1, copy.name), pair(2)])
    if way == "completion":
        await traces.delete_completion(session, completion(1).name)
    elif way == "trace":
        await traces.delete(session, own(1).trace)
    else:
        await traces.delete_session(session, PROJECT, "mrs-smith")
    assert await left(session) == (["2"], ["2"])
    assert await found(session) == ["2"]
    assert await outbox_of(session) == [("CompletionDeleted", completion(1).name)]


async def test_retention_forgets_what_was_compared_also_where_no_text_of_it_was_kept(session: Session) -> None:
    copy = own(8, shadow_of=completion(1).name)
    await traces.add(session, [own(1), copy])
    await traffic_store.add_pairs(session, [pair(1, copy.name), pair(2), pair(5)])
    await traces.delete_older(session, PROJECT, NOON + timedelta(minutes=3))
    assert await left(session) == ([], ["5"])
    cause = await session.scalar(sa.text("SELECT payload FROM outbox"))
    assert "CAUSE_RETENTION" in str(cause)


async def test_a_stranger_finds_no_trace_and_deletes_none(platform: Platform, clock: ManualClock) -> None:
    url = platform.settings().database_url_of("inference_gateway")
    await migrate.upgrade(url, "inference_gateway")
    db = Database(url, "inference_gateway", clock)
    with acting_as(ENGINEER):
        async with db.transaction() as session:
            await traces.add(session, [completion(1, session=session_hash(PROJECT, "s"))], [span(2)])
    with acting_as(STRANGER):
        for forbidden in (traces.get, traces.delete):
            with pytest.raises(traces.TraceNotFound):
                async with db.transaction() as session:
                    await forbidden(session, TRACE)
        async with db.transaction() as session:
            assert await found(session) == []
            with pytest.raises(traces.SessionNotFound):
                await traces.delete_session(session, PROJECT, "s")
    with acting_as(ENGINEER):
        async with db.transaction() as session:
            assert await found(session) == ["a"]
    await db.close()
    await platform.empty("inference_gateway")


async def test_retention_forgets_by_project_and_goes_on_where_it_was(
    platform: Platform, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "BATCH", 2)
    url = platform.settings().database_url_of("inference_gateway")
    await migrate.upgrade(url, "inference_gateway")
    db = Database(url, "inference_gateway", clock)
    context: Any = SimpleNamespace(db=db, clock=clock)
    with acting_as(EVERYBODY):
        async with db.transaction() as session:
            for name, days in ((PROJECT, 3), ("other", 0)):
                kept = KnownProject(project=name, active=True, consent_to_keep=True, retention_days=days)
                await store.put_project(session, kept)
            rows = [own(number) for number in (1, 2, 3, 4)]
            theirs = own(9)
            theirs.project, theirs.name, theirs.trace = (
                "other",
                "projects/other/completions/9",
                "projects/other/traces/9",
            )
            await traces.add(session, [*rows, theirs])
        clock.advance(days=3, hours=3, minutes=3, seconds=30)  # noon and three and a half minutes, three days later
        assert [await forget_old(context) for _ in range(2)] == [True, False]
        async with db.transaction() as session:
            left = (await session.scalars(sa.select(Completion.name))).all()
    await db.close()
    await platform.empty("inference_gateway")
    assert sorted(left) == [own(4).name, "projects/other/completions/9"]
