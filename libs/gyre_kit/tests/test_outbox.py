"""The relay: everything that was committed goes out, in order, and a broker that forgot it gets it again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from gyre.feedback.v1.events_pb2 import FeedbackSubmitted
from gyre_kit import outbox
from gyre_kit.db import Database
from gyre_kit.outbox import OUTBOX, Relay
from gyre_kit.telemetry import Metrics
from gyre_kit.testing import ManualClock, eventually

RETENTION = timedelta(hours=1)


@asynccontextmanager
async def relaying(db: Database, kafka: Any) -> AsyncIterator[Relay]:
    client = kafka.client()
    relay = Relay(db, client, Metrics("feedback"), RETENTION)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)
        await client.close()


async def emit(db: Database, *numbers: int) -> None:
    """A fact for each number, all about one feedback, each in a transaction of its own."""
    for number in numbers:
        event = FeedbackSubmitted(name="projects/acme/feedback/1", number=number)
        event.submit_time.FromDatetime(db.clock.now())
        async with db.transaction() as session:
            await outbox.emit(session, event.name, event)


def all_sent(db: Database) -> Any:
    async def check() -> bool:
        async with db.transaction() as session:
            unsent = sa.select(sa.func.count()).select_from(OUTBOX).where(OUTBOX.c.sent_at.is_(None))
            return not await session.scalar(unsent)

    return check


def numbers(records: list[Any]) -> list[int]:
    return [json.loads(record.value)["number"] for record in records]


async def test_events_go_out_in_the_order_in_which_they_were_written(db: Database, kafka: Any) -> None:
    await emit(db, *range(1, 21))
    async with relaying(db, kafka):
        records = await kafka.read(20)
        await eventually(all_sent(db))
    assert numbers(records) == list(range(1, 21))
    headers = {name: value.decode() for name, value in records[0].headers}
    assert headers["ce_type"] == "gyre.feedback.v1.FeedbackSubmitted"
    assert headers["ce_subject"] == records[0].key.decode() == "projects/acme/feedback/1"


async def test_topics_are_made_with_the_retention_of_the_outbox(kafka: Any) -> None:
    client = kafka.client()
    await client.ensure_topics("feedback")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        asked = [ConfigResource(ConfigResourceType.TOPIC, f"gyre.feedback{kind}") for kind in ("", ".dead")]
        (answer,) = await admin.describe_configs(asked)
        found = [dict(entry[:2] for entry in resource[4]) for resource in answer.resources]
    finally:
        await admin.close()
        await client.close()
    assert [each.get("retention.ms") for each in found] == ["3600000", "3600000"]


async def test_a_commit_wakes_the_relay(db: Database, kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IDLE_SECONDS", 3600.0)
    async with relaying(db, kafka) as relay:
        await relay.ready.wait()
        await eventually(all_sent(db))
        await emit(db, 1)
        assert numbers(await kafka.read(1)) == [1]


async def test_what_is_rolled_back_is_never_sent(db: Database, kafka: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            event = FeedbackSubmitted(name="projects/acme/feedback/1", number=13)
            event.submit_time.FromDatetime(db.clock.now())
            await outbox.emit(session, event.name, event)
            raise ZeroDivisionError
    await emit(db, 2)
    async with relaying(db, kafka):
        assert numbers(await kafka.read(1)) == [2]


async def test_a_broker_that_forgot_gets_the_retention_window_again(
    db: Database, kafka: Any, clock: ManualClock
) -> None:
    await emit(db, 1)
    clock.advance(hours=2)  # the first event is then older than what a new broker is owed
    await emit(db, 2, 3)
    async with relaying(db, kafka):
        before = await kafka.read(3)
        await eventually(all_sent(db))
        kafka.kill()
        await kafka.start()
        await emit(db, 4)
        after = await kafka.read(3)
    assert numbers(before) == [1, 2, 3]
    assert numbers(after) == [2, 3, 4]
    assert _ids(after)[:2] == _ids(before)[1:], "an event keeps its id, by which inboxes know it"


async def test_while_the_broker_is_away_events_wait(db: Database, kafka: Any) -> None:
    async with relaying(db, kafka) as relay:
        await relay.ready.wait()
        kafka.kill()
        await emit(db, 1, 2)
        await kafka.start()
        assert numbers(await kafka.read(2)) == [1, 2]


async def test_a_relay_outlives_a_database_that_lets_nobody_in(
    db: Database, kafka: Any, refusing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def tried_again() -> bool:
        return caplog.messages.count("relay waits for broker or database") >= 2

    async with relaying(db, kafka) as relay:
        await relay.ready.wait()
        async with refusing():
            db.outbox_written.set()
            await eventually(tried_again)
        await emit(db, 1)
        assert numbers(await kafka.read(1)) == [1]


async def test_two_relays_of_one_service_send_everything_once(db: Database, kafka: Any) -> None:
    async with relaying(db, kafka) as first, relaying(db, kafka) as second:
        await first.ready.wait()
        await second.ready.wait()
        await emit(db, *range(1, 11))
        await eventually(all_sent(db))
        await emit(db, 11)
        assert numbers(await kafka.read(11)) == list(range(1, 12))


def _ids(records: list[Any]) -> list[str]:
    return [dict(record.headers)["ce_id"].decode() for record in records]
