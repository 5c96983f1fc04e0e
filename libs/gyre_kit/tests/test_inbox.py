"""The inbox: each event is applied once, what may pass is tried again, and what cannot be applied is kept with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from gyre.feedback.v1.events_pb2 import FeedbackSubmitted
from gyre_kit import events
from gyre_kit.db import Database, Session
from gyre_kit.errors import Precondition, Retriable
from gyre_kit.events import Envelope
from gyre_kit.inbox import ATTEMPTS, INBOX, Inbox
from gyre_kit.outbox import OUTBOX
from gyre_kit.telemetry import Metrics
from gyre_kit.testing import eventually

TOPIC = "gyre.feedback"


class NotOurs(Precondition):
    """The event names something that is not here."""


@asynccontextmanager
async def listening(
    db: Database, kafka: Any, handler: Callable[[Session, Any], Awaitable[None]]
) -> AsyncIterator[Inbox]:
    client = kafka.client()
    inbox = Inbox(db, client, Metrics("feedback"), {FeedbackSubmitted: handler}, on_applied=lambda: None)
    task = asyncio.create_task(inbox.run())
    try:
        await inbox.ready.wait()
        yield inbox
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=15)
        await client.close()


class Heard:
    """A handler that keeps the numbers it was given; `trouble` is raised first, as often as there is some."""

    def __init__(self, *trouble: Exception) -> None:
        self.numbers: list[int] = []
        self.calls = 0
        self._trouble = list(trouble)

    async def __call__(self, session: Session, event: Any) -> None:
        self.calls += 1
        if self._trouble:
            raise self._trouble.pop(0)
        self.numbers.append(event.number)

    def has(self, *numbers: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return self.numbers == list(numbers)

        return check


def fact(db: Database, number: int) -> Envelope:
    event = FeedbackSubmitted(name="projects/acme/feedback/1", number=number)
    event.submit_time.FromDatetime(db.clock.now())
    return events.envelope(event.name, event, db.clock.now())


async def send(kafka: Any, *envelopes: Envelope) -> None:
    client = kafka.client()
    await client.ensure_topics("feedback")  # as its owner does
    producer = client.producer()
    await producer.start()
    try:
        for envelope in envelopes:
            headers = [(name, value.encode()) for name, value in envelope.headers.items()]
            await producer.send_and_wait(TOPIC, envelope.payload, key=envelope.subject.encode(), headers=headers)
    finally:
        await producer.stop()
        await client.close()


async def inbox_ids(db: Database) -> list[str]:
    async with db.transaction() as session:
        return list(await session.scalars(sa.select(INBOX.c.event_id)))


async def dead_letters(db: Database) -> list[Any]:
    async with db.transaction() as session:
        return list((await session.execute(sa.select(OUTBOX).where(OUTBOX.c.topic == f"{TOPIC}.dead"))).all())


async def test_an_event_that_comes_twice_is_applied_once(db: Database, kafka: Any) -> None:
    heard, first, second = Heard(), fact(db, 1), fact(db, 2)
    async with listening(db, kafka, heard):
        await send(kafka, first, first, second, first)
        await eventually(heard.has(1, 2))
        await send(kafka, second, last := fact(db, 3))
        await eventually(heard.has(1, 2, 3))
    assert sorted(await inbox_ids(db)) == sorted([first.id, second.id, last.id])


async def test_a_broker_that_forgot_and_is_told_again_changes_nothing(db: Database, kafka: Any) -> None:
    heard, known = Heard(), fact(db, 1)
    async with listening(db, kafka, heard):
        await send(kafka, known)
        await eventually(heard.has(1))
        kafka.kill()
        await kafka.start()
        await send(kafka, known, fact(db, 2))
        await eventually(heard.has(1, 2), seconds=60)


async def test_a_broker_that_dies_again_and_again_is_read_each_time(db: Database, kafka: Any) -> None:
    """Its clients' own tasks end in odd ways then, and a commit on its way to one broker arrives at the next."""
    heard = Heard()
    async with listening(db, kafka, heard):
        for life in range(1, 7):
            await send(kafka, fact(db, life))
            await eventually(heard.has(*range(1, life + 1)), seconds=60)
            kafka.kill()
            await asyncio.sleep(0.1 if life % 2 else 0.7)  # long enough to be noticed, or just not
            await kafka.start()


async def test_of_two_processes_one_reads_and_the_other_takes_over(db: Database, kafka: Any) -> None:
    first, second = Heard(), Heard()
    async with listening(db, kafka, first):
        await send(kafka, fact(db, 1))
        await eventually(first.has(1))
        follower = asyncio.create_task(_hear_until(db, kafka, second, 2))
        await send(kafka, fact(db, 3))
        await eventually(first.has(1, 3))
        assert second.calls == 0
    await send(kafka, fact(db, 2))
    await follower
    assert second.numbers == [2], "what the first had committed does not come again"


async def _hear_until(db: Database, kafka: Any, heard: Heard, number: int) -> None:
    async with listening(db, kafka, heard):
        await eventually(heard.has(number))


async def test_a_topic_that_comes_later_is_read_from_its_beginning(db: Database, kafka: Any) -> None:
    heard = Heard()
    async with listening(db, kafka, heard):
        assert not (await kafka.client().layout([TOPIC])).partitions, "only its owner makes a topic"
        await send(kafka, fact(db, 1))
        await eventually(heard.has(1))


async def test_an_inbox_outlives_a_database_that_lets_nobody_in(
    db: Database, kafka: Any, refusing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def tried_again() -> bool:
        return caplog.messages.count("inbox waits for broker or database") >= 2

    heard = Heard()
    async with listening(db, kafka, heard):
        async with refusing():
            await send(kafka, fact(db, 1))
            await eventually(tried_again)
        await eventually(heard.has(1))


async def test_what_may_pass_is_tried_again(db: Database, kafka: Any) -> None:
    heard = Heard(Retriable("not yet", after=0.01), Retriable("not yet", after=0.01))
    async with listening(db, kafka, heard):
        await send(kafka, event := fact(db, 1))
        await eventually(heard.has(1))
    assert heard.calls == 3
    assert await inbox_ids(db) == [event.id]
    assert await dead_letters(db) == []


async def test_what_never_passes_goes_to_the_dead_letters_with_its_reason(db: Database, kafka: Any) -> None:
    heard = Heard(*[Retriable("still not there", after=0.01)] * ATTEMPTS)
    async with listening(db, kafka, heard):
        await send(kafka, lost := fact(db, 1), fact(db, 2))
        await eventually(heard.has(2))
    assert heard.calls == ATTEMPTS + 1
    (letter,) = await dead_letters(db)
    assert letter.headers["gyre_reason"] == "Retriable: still not there"
    assert letter.headers["gyre_topic"] == TOPIC
    assert letter.headers["ce_id"] == lost.id
    assert letter.payload == lost.payload.decode()
    assert lost.id not in await inbox_ids(db), "it was not applied, so it may be sent again"


async def test_a_domain_error_is_not_tried_again(db: Database, kafka: Any) -> None:
    heard = Heard(NotOurs(name="x"))
    async with listening(db, kafka, heard):
        await send(kafka, fact(db, 1), fact(db, 2))
        await eventually(heard.has(2))
    assert heard.calls == 2
    (letter,) = await dead_letters(db)
    assert letter.headers["gyre_reason"].startswith("NotOurs: ")


async def test_a_body_that_is_no_json_goes_to_the_dead_letters(db: Database, kafka: Any) -> None:
    heard, whole = Heard(), fact(db, 1)
    broken = Envelope(whole.id, whole.type, whole.subject, whole.headers, b"{not json")
    async with listening(db, kafka, heard):
        await send(kafka, broken, fact(db, 2))
        await eventually(heard.has(2))
    (letter,) = await dead_letters(db)
    assert letter.headers["gyre_reason"].startswith("ParseError: ")


async def test_types_that_nobody_handles_are_passed_over(db: Database, kafka: Any) -> None:
    heard, other = Heard(), fact(db, 1)
    unknown = Envelope(other.id, "gyre.feedback.v1.Later", other.subject, other.headers | {"ce_type": "x"}, b"{}")
    async with listening(db, kafka, heard):
        await send(kafka, unknown, fact(db, 2))
        await eventually(heard.has(2))
    assert await dead_letters(db) == []
