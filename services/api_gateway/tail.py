"""Listens to every topic from now on and tells whoever watches: no group, no offsets, nothing kept."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from gyre_kit import addresses
from gyre_kit.app import Context

log = logging.getLogger(__name__)
BUFFER = 1000  # events that one slow watcher may be behind; then it misses the oldest
CLUSTER_CHECK_SECONDS = 5.0


@dataclass(frozen=True)
class Fact:
    project: str
    json: str


class Tail:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._queues: set[asyncio.Queue[Fact]] = set()

    @contextmanager
    def subscription(self) -> Iterator[asyncio.Queue[Fact]]:
        queue: asyncio.Queue[Fact] = asyncio.Queue(BUFFER)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("event tail waits for the broker", extra={"error": str(error)})
                await asyncio.sleep(1)

    async def _listen(self) -> None:
        broker = self._context.broker
        cluster = await broker.cluster_id()
        topics = [addresses.topic(component) for component in addresses.COMPONENTS]
        consumer = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=broker.bootstrap,
            group_id=None,
            auto_offset_reset="latest",
            metadata_max_age_ms=2000,  # a topic that is made after us (first start, new broker) is found by this alone
        )
        await consumer.start()
        try:
            while await broker.cluster_id() == cluster:
                batches = await consumer.getmany(timeout_ms=int(CLUSTER_CHECK_SECONDS * 1000))
                for records in batches.values():
                    for record in records:
                        self._tell(record)
        finally:
            await asyncio.wait_for(consumer.stop(), timeout=5)

    def _tell(self, record: ConsumerRecord) -> None:
        headers = {name: value.decode() for name, value in record.headers}
        subject = headers.get("ce_subject", "")
        parts = subject.split("/")
        fact = Fact(
            project=parts[1] if len(parts) > 1 and parts[0] == "projects" else "",
            json=json.dumps(
                {
                    "type": headers.get("ce_type", ""),
                    "subject": subject,
                    "time": headers.get("ce_time", ""),
                    "data": json.loads(record.value),
                }
            ),
        )
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(fact)


@asynccontextmanager
async def tailing(context: Context) -> AsyncIterator[None]:
    tail = context.state["tail"] = Tail(context)
    task = asyncio.create_task(tail.run(), name="api_gateway.tail")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=6)
