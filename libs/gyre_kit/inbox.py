"""Facts enter a service by its inbox: each event is applied once, though Kafka may bring it more often.

`INSERT (consumer, event_id) ON CONFLICT DO NOTHING` stands in the handler's own transaction; the offset is committed
after the database. A message that keeps failing goes to the service's dead-letter topic, with its reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from google.protobuf.json_format import ParseError
from google.protobuf.message import Message
from sqlalchemy.dialects.postgresql import insert

from gyre_kit import addresses, outbox
from gyre_kit.broker import Broker, patiently
from gyre_kit.db import Database, Session
from gyre_kit.errors import DomainError, Retriable
from gyre_kit.events import Decoder, Envelope
from gyre_kit.leader import Leadership, leadership
from gyre_kit.telemetry import Metrics, event_span

log = logging.getLogger(__name__)
Handler = Callable[[Session, Any], Awaitable[None]]
INBOX = sa.table("inbox", sa.column("consumer"), sa.column("event_id"))
ATTEMPTS = 5
POLL_SECONDS = 2.0  # an event ends the wait at once; this is how soon another broker is noticed
POLL_SECONDS_TO_BEGIN_WITH = 0.2  # while the owners of some topics have not made them yet
RETRY_SECONDS = 0.5


class Inbox:
    """What one service hears, brought to its HANDLERS. Of several processes of one service one reads."""

    def __init__(
        self,
        db: Database,
        broker: Broker,
        metrics: Metrics,
        handlers: Mapping[type[Message], Handler],
        on_applied: Callable[[], None],
    ) -> None:
        self._db, self._broker, self._metrics = db, broker, metrics
        self._handlers, self._on_applied = handlers, on_applied
        self._decoder = Decoder(handlers)
        self._topics = frozenset(self._decoder.topics())
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled; a broker or database that is away is waited for."""
        while True:
            try:
                async with leadership(self._db, "inbox", waiting=self.ready) as lead:
                    while True:
                        await self._read_one_layout(lead)
            except (KafkaError, OSError, sa.exc.SQLAlchemyError, TimeoutError) as error:
                log.warning("inbox waits for broker or database", extra={"error": str(error)})
            except Exception:
                log.exception("inbox failed; it starts over")
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_one_layout(self, lead: Leadership) -> None:
        """Reads until the broker turns out to be another one, or to have more topics or partitions for us."""
        layout = await self._broker.layout(self._topics)
        if not layout.partitions:
            self.ready.set()
            await asyncio.sleep(POLL_SECONDS_TO_BEGIN_WITH)
            return
        is_whole = {partition.topic for partition in layout.partitions} == self._topics
        poll = POLL_SECONDS if is_whole else POLL_SECONDS_TO_BEGIN_WITH
        # A commit on its way when the embedded broker dies reaches its successor: it must not count there.
        group = f"{self._db.component}@{layout.cluster_id}"
        async with self._broker.reading(layout.partitions, group) as consumer:
            self.ready.set()
            while True:
                batches = await patiently(consumer.getmany(timeout_ms=int(poll * 1000)))
                for batch in batches.values():
                    for record in batch:
                        await self._handle(record)
                if batches:
                    self._on_applied()
                if await self._broker.layout(self._topics) != layout:
                    return
                await lead.confirm()
                if batches:
                    await patiently(consumer.commit())
                await patiently(self._measure(consumer))

    async def _handle(self, record: ConsumerRecord) -> None:
        """Applies one event, retries what may pass, and sets aside what does not."""
        headers = {name: value.decode() for name, value in record.headers}
        with event_span(self._db.component, headers):
            reason: Exception
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._apply(headers, record.value)
                    return
                except (ParseError, DomainError, ValueError, KeyError, TypeError, sa.exc.DataError) as error:
                    reason = error
                    break
                except Retriable as error:
                    reason = error
                    await asyncio.sleep(error.after)
                except sa.exc.IntegrityError as error:
                    reason = error
                    await asyncio.sleep(0.1 * 2**attempt)
            await self._set_aside(record, headers, reason)

    async def _apply(self, headers: dict[str, str], payload: bytes) -> None:
        event = self._decoder.decode(headers.get("ce_type", ""), payload)
        if event is None:
            return
        async with self._db.transaction() as session:
            mark = insert(INBOX).values(consumer=self._db.component, event_id=headers["ce_id"])
            is_new = (await session.execute(mark.on_conflict_do_nothing().returning(INBOX.c.event_id))).first()
            if is_new:
                await self._handlers[type(event)](session, event)
        self._metrics.events_handled.labels(type=headers["ce_type"], outcome="applied" if is_new else "known").inc()

    async def _set_aside(self, record: ConsumerRecord, headers: dict[str, str], reason: Exception) -> None:
        log.error("event goes to the dead letters", extra={"type": headers.get("ce_type"), "error": str(reason)})
        kept = headers | {"gyre_reason": f"{type(reason).__name__}: {reason}"[:500], "gyre_topic": record.topic}
        letter = Envelope(
            id=f"{headers.get('ce_id', '')}/{self._db.component}",
            type=headers.get("ce_type", ""),
            subject=(record.key or b"").decode(errors="replace"),
            headers=kept,
            payload=record.value or b"",
        )
        async with self._db.transaction() as session:
            await outbox.write(session, addresses.dead_letter_topic(self._db.component), letter)
        self._metrics.events_handled.labels(type=headers.get("ce_type", ""), outcome="dead").inc()

    async def _measure(self, consumer: AIOKafkaConsumer) -> None:
        for partition in consumer.assignment():
            highwater = consumer.highwater(partition)
            if highwater is not None:
                lag = highwater - await consumer.position(partition)
                self._metrics.consumer_lag.labels(topic=partition.topic).set(max(0, lag))
