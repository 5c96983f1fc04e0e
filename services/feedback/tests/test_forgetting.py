"""A completion is deleted: what feedback copied of it goes, and what data sets hold of it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from gyre.feedback.v1.feedback_service_pb2 import ListFeedbackRequest
from gyre.inference_gateway.v1.events_pb2 import CompletionDeleted
from gyre_kit import migrate, outbox
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.broker import Broker
from gyre_kit.clock import SystemClock
from gyre_kit.db import Database, Session
from gyre_kit.outbox import Relay
from gyre_kit.telemetry import Metrics
from gyre_kit.testing import PROJECT, REVIEWER, Platform, eventually, outbox_of

from services.feedback import api, main, service, store
from services.feedback.models import Feedback, FeedbackState
from services.feedback.settings import Settings
from services.feedback.tests.test_service import COMPLETION, approved, submitted

BY_REQUEST, BY_AGE = CompletionDeleted.CAUSE_REQUEST, CompletionDeleted.CAUSE_RETENTION


async def delete(session: Session, cause: CompletionDeleted.Cause.ValueType = BY_REQUEST) -> None:
    await main.app.handlers[CompletionDeleted](session, CompletionDeleted(name=COMPLETION.name, cause=cause))


def texts(feedback: Feedback) -> list[object]:
    return [feedback.messages, feedback.answer, feedback.correction, feedback.comment]


async def test_feedback_that_no_data_set_has_loses_every_text_in_whatever_state_it_is(session: Session) -> None:
    waiting = await submitted(session, comment="She called twice.")
    claimed = await submitted(session)
    await service.claim(session, claimed.name, by=REVIEWER)
    good = await approved(session)
    rejected = await submitted(session)
    await service.claim(session, rejected.name, by=REVIEWER)
    await service.reject(session, rejected.name, by=REVIEWER, reason="her name is in it")
    await delete(session)
    for feedback in (waiting, claimed, good, rejected):
        assert (feedback.state, texts(feedback)) == (FeedbackState.FORGOTTEN, [[], "", "", ""])
        assert (feedback.reject_reason, feedback.rating, feedback.completion_deleted) == ("", "THUMBS_DOWN", True)
    assert (await outbox_of(session))[-4:] == [
        ("FeedbackForgotten", each.name) for each in sorted((waiting, claimed, good, rejected), key=lambda it: it.name)
    ]
    with pytest.raises(service.NothingApproved):
        await service.create_batch(session, PROJECT, "hotline", [])
    await delete(session)  # heard of twice
    assert len([kind for kind, _ in await outbox_of(session) if kind == "FeedbackForgotten"]) == 4


async def test_what_a_data_set_version_has_stays_and_says_which(session: Session) -> None:
    kept = await approved(session)
    batch = await service.create_batch(session, PROJECT, "hotline", [])
    batch.sft_version = f"projects/{PROJECT}/datasets/hotline/versions/1"
    await session.flush()
    await delete(session)
    assert (kept.state, kept.completion_deleted, kept.answer) == (FeedbackState.APPROVED, True, COMPLETION.answer)
    assert (await outbox_of(session))[-1] == ("FeedbackForgotten", kept.name)
    shown = api.to_proto(kept, await store.batches_of(session, [kept]))
    assert (shown.completion_deleted, list(shown.dataset_versions)) == (True, [batch.sft_version])
    page = await store.feedback_page(session, ListFeedbackRequest(filter="completion_deleted=true"))
    assert [row.name for row in page.rows] == [kept.name]


async def test_what_a_failed_batch_lets_go_of_is_forgotten_then(session: Session) -> None:
    kept = await approved(session)
    batch = await service.create_batch(session, PROJECT, "hotline", [])
    await delete(session)
    await service.fail_batch(session, batch, "BAD_ROWS", "")
    assert (kept.state, texts(kept), kept.batch) == (FeedbackState.FORGOTTEN, [[], "", "", ""], "")


async def test_what_only_grew_too_old_goes_but_for_what_a_reviewer_wants_to_learn_from(session: Session) -> None:
    waiting, good = await submitted(session), await approved(session)
    await delete(session, BY_AGE)
    assert (waiting.state, good.state) == (FeedbackState.FORGOTTEN, FeedbackState.APPROVED)
    assert texts(good)[:2] == [COMPLETION.messages, COMPLETION.answer]
    batch = await service.create_batch(session, PROJECT, "hotline", [])
    assert (batch.count, good.batch) == (1, batch.name)


async def test_feedback_that_still_looks_for_its_completion_stops_and_takes_no_copy(session: Session) -> None:
    said = service.Submission(PROJECT, COMPLETION.name, rating="THUMBS_DOWN", comment="Wrong street.")
    pending = await service.submit(session, said, None, by=REVIEWER)
    await delete(session)
    await service.attach(session, pending, COMPLETION)  # looked up just before
    await service.expire(session, pending)
    assert (pending.state, texts(pending)) == (FeedbackState.FORGOTTEN, [[], "", "", ""])


@pytest.fixture
async def serving(platform: Platform) -> AsyncIterator[Context]:
    async with platform.serving(replace(main.app, settings=platform.settings(Settings), reconcilers=())) as (context,):
        yield context
    await platform.empty("feedback")


@asynccontextmanager
async def gateways_relay(platform: Platform) -> AsyncIterator[Database]:
    """The gateway's own schema, whose outbox goes to the broker meanwhile."""
    settings = platform.settings()
    url = settings.database_url_of("inference_gateway")
    await migrate.upgrade(url, "inference_gateway")
    db = Database(url, "inference_gateway", SystemClock())
    client = Broker(settings.kafka_address, "test", timedelta(hours=1))
    relay = asyncio.create_task(Relay(db, client, Metrics("inference_gateway"), timedelta(hours=1)).run())
    try:
        yield db
    finally:
        relay.cancel()
        await asyncio.wait([relay], timeout=10)
        await client.close()
        await db.close()
        await platform.empty("inference_gateway")


async def test_the_gateways_event_reaches_it_through_the_broker(serving: Context, platform: Platform) -> None:
    name = f"projects/{PROJECT}/completions/over-the-broker"
    with acting_as(REVIEWER):
        async with serving.db.transaction() as session:
            said = service.Submission(PROJECT, name, rating="THUMBS_UP")
            feedback = await service.submit(session, said, replace(COMPLETION, name=name), by=REVIEWER)

    async def is_forgotten() -> bool:
        with acting_as(REVIEWER):
            async with serving.db.transaction() as session:
                row = await session.scalar(sa.select(Feedback).where(Feedback.name == feedback.name))
                return row is not None and row.state == FeedbackState.FORGOTTEN and not row.answer

    async with gateways_relay(platform) as gateway:
        with acting_as(REVIEWER):
            async with gateway.transaction() as session:
                event = CompletionDeleted(name=name, cause=BY_REQUEST)
                event.delete_time.FromDatetime(session.clock.now())
                await outbox.emit(session, name, event)
        await eventually(is_forgotten)
