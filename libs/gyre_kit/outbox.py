"""Facts leave a service by its outbox: written in the transaction of the state change, sent by one relay.

The relay sends `WHERE sent_at IS NULL ORDER BY id` and then marks. There is no "last id" cursor: a sequence's number
is taken before the commit, so a lower one can appear later. A broker that lost its memory (another cluster id, or the
topic is gone) gets the retention window again: each row remembers the cluster it went to. Inboxes drop what they know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from google.protobuf.message import Message

from gyre_kit import addresses, events
from gyre_kit.broker import Broker, Cluster, patiently
from gyre_kit.db import Database, Session, insert_rows
from gyre_kit.leader import Leadership, leadership
from gyre_kit.telemetry import Metrics, current_traceparent

log = logging.getLogger(__name__)
BATCH = 500
IDLE_SECONDS = 2.0  # a commit of this process wakes the relay; this is for those of a process that died
RETRY_SECONDS = 0.5
SEND_SECONDS = 60.0
HOUSEKEEPING_SECONDS = 600.0
OUTBOX = sa.table(
    "outbox",
    *(sa.column(c) for c in ("id", "event_id", "topic", "type", "subject", "payload", "sent_to")),
    sa.column("headers", sa.JSON),
    sa.column("create_time", sa.DateTime(timezone=True)),
    sa.column("sent_at", sa.DateTime(timezone=True)),
)


async def emit(session: Session, subject: str, event: Message) -> None:
    """Writes `event` about `subject` to the outbox, in the caller's transaction."""
    component = events.component_of(event.DESCRIPTOR)
    envelope = events.envelope(subject, event, session.clock.now(), current_traceparent())
    await write(session, addresses.topic(component), envelope)


async def emit_all(session: Session, events_by_subject: Mapping[str, Message]) -> None:
    """`emit` for many events of one component at once: one statement."""
    traceparent, now = current_traceparent(), session.clock.now()
    rows = [
        _row(
            addresses.topic(events.component_of(event.DESCRIPTOR)),
            events.envelope(subject, event, now, traceparent),
            now,
        )
        for subject, event in events_by_subject.items()
    ]
    if rows:
        await insert_rows(session, OUTBOX, rows)
        session.info["outbox"] = True


async def write(session: Session, topic: str, envelope: events.Envelope) -> None:
    await session.execute(sa.insert(OUTBOX).values(**_row(topic, envelope, session.clock.now())))
    session.info["outbox"] = True


def _row(topic: str, envelope: events.Envelope, now: datetime) -> dict[str, Any]:
    return {
        "event_id": envelope.id,
        "topic": topic,
        "type": envelope.type,
        "subject": envelope.subject,
        "headers": envelope.headers,
        "payload": envelope.payload.decode(),
        "create_time": now,
    }


class Every:
    """True once in so many seconds, at the first question too."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._seconds
        return True


class Relay:
    """Sends what the outbox holds. Of several processes of one service one does."""

    def __init__(self, db: Database, broker: Broker, metrics: Metrics, retention: timedelta) -> None:
        self._db, self._broker, self._metrics, self._retention = db, broker, metrics, retention
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled; a broker or database that is away is waited for."""
        while True:
            try:
                await self._as_leader()
            except (KafkaError, OSError, sa.exc.SQLAlchemyError, TimeoutError) as error:
                log.warning("relay waits for broker or database", extra={"error": str(error)})
            except Exception:
                log.exception("relay failed; it starts over")
            await asyncio.sleep(RETRY_SECONDS)

    async def _as_leader(self) -> None:
        async with leadership(self._db, "relay", waiting=self.ready) as lead:
            producer = self._broker.producer()
            try:
                await patiently(producer.start())
                await self._relay(producer, lead)
            finally:
                with suppress(TimeoutError, KafkaError):
                    await patiently(producer.stop())

    async def _relay(self, producer: AIOKafkaProducer, lead: Leadership) -> None:
        known: Cluster | None = None
        housekeeping = Every(HOUSEKEEPING_SECONDS)
        while True:
            cluster = await self._broker.ensure_topics(self._db.component)
            if cluster != known:
                await self._unmark_what_it_lacks(cluster)
                known = replace(cluster, topics_created=False)
            self.ready.set()
            self._db.outbox_written.clear()
            while await self._send_batch(producer, cluster.id):
                pass
            await lead.confirm()
            if housekeeping.due():
                await self._drop_old()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._db.outbox_written.wait(), timeout=IDLE_SECONDS)

    async def _send_batch(self, producer: AIOKafkaProducer, cluster_id: str) -> bool:
        """Sends one batch; True if there was one. Rows are marked only when the broker has them all."""
        async with self._db.transaction() as session:
            query = sa.select(OUTBOX).where(OUTBOX.c.sent_at.is_(None)).order_by(OUTBOX.c.id).limit(BATCH)
            rows = (await session.execute(query)).all()
            self._metrics.outbox_lag.set(len(rows))
        if not rows:
            return False
        sends = [
            await producer.send(
                row.topic,
                key=row.subject.encode(),
                value=row.payload.encode(),
                headers=[(name, value.encode()) for name, value in row.headers.items()],
            )
            for row in rows
        ]
        await patiently(_arrived(producer, sends), SEND_SECONDS)
        async with self._db.transaction() as session:
            marked = sa.update(OUTBOX).where(OUTBOX.c.id.in_([row.id for row in rows]))
            await session.execute(marked.values(sent_at=session.clock.now(), sent_to=cluster_id))
        return True

    async def _unmark_what_it_lacks(self, cluster: Cluster) -> None:
        """What went to another cluster, or to a topic that had to be made anew, counts as unsent."""
        async with self._db.transaction() as session:
            sent = OUTBOX.c.sent_at.is_not(None) & (OUTBOX.c.create_time >= session.clock.now() - self._retention)
            lacking = sa.true() if cluster.topics_created else OUTBOX.c.sent_to != cluster.id
            result: Any = await session.execute(
                sa.update(OUTBOX).where(sent, lacking).values(sent_at=None, sent_to=None)
            )
        if result.rowcount:
            log.warning("an empty broker gets the retention window again", extra={"events": result.rowcount})

    async def _drop_old(self) -> None:
        async with self._db.transaction() as session:
            before = session.clock.now() - self._retention
            await session.execute(sa.delete(OUTBOX).where(OUTBOX.c.create_time < before, OUTBOX.c.sent_at.is_not(None)))


async def _arrived(producer: AIOKafkaProducer, sends: list[asyncio.Future[Any]]) -> None:
    await producer.flush()
    await asyncio.gather(*sends)
