"""Listens to every topic from now on and tells whoever watches: no group, no offsets, nothing kept."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from gyre_kit import addresses
from gyre_kit.app import Context
from gyre_kit.broker import patiently

log = logging.getLogger(__name__)
BUFFER = 1000  # events that one slow watcher may be behind; then it misses the oldest
CLUSTER_CHECK_SECONDS = 2.0
RETRY_SECONDS = 0.2
TOPICS = frozenset(addresses.topic(component) for component in addresses.COMPONENTS)


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
            except Exception:
                log.exception("event tail failed; it starts over")
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        """Until the broker is another one, or has more topics for us: then it begins anew."""
        broker = self._context.broker
        layout = await broker.layout(TOPICS)
        if not layout.partitions:
            await asyncio.sleep(CLUSTER_CHECK_SECONDS)
            return
        async with broker.reading(layout.partitions, group=None) as consumer:
            while await broker.layout(TOPICS) == layout:
                batches = await patiently(consumer.getmany(timeout_ms=int(CLUSTER_CHECK_SECONDS * 1000)))
                for records in batches.values():
                    for record in records:
                        self._tell(record)

    def _tell(self, record: ConsumerRecord) -> None:
        headers = {name: value.decode() for name, value in record.headers}
        subject = headers.get("ce_subject", "")
        parts = subject.split("/")
        fact = Fact(
            project=parts[1] if len(parts) > 1 and parts[0] == "projects" else "",
            json=json.dumps(
                {
                    "id": headers.get("ce_id", ""),
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
