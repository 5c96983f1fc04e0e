"""The Kafka-protocol broker, seen from a service: which cluster is it, are our topics there, and clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import aiokafka.client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError
from aiokafka.protocol.metadata import MetadataRequest

from gyre_kit import addresses

PARTITIONS = 1  # order holds for each aggregate within a partition; a cluster's owner may raise it
REQUEST_MS = 8000
PATIENCE_SECONDS = 10.0
# Bytes. A record a batch, whatever its size: Tansu 0.6 moves its log's end by one for a batch of several records, and
# the next batch then lies at offsets that every consumer believes to have read.
ONE_RECORD = 1

Result = TypeVar("Result")

# Only a topic's owner makes it. A consumer that asks for one that is not there yet must not have it made in passing,
# with other partitions, while its owner makes it too: one of the two would be lost with what is in it. aiokafka has no
# setting for that flag of the request.
aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


async def patiently(step: Coroutine[Any, Any, Result], seconds: float = PATIENCE_SECONDS) -> Result:
    """What a step of aiokafka returns. Some wait for ever for a broker that is another one by now, and some raise the
    CancelledError of a task of their own, which in our task would mean that we are to end.

    Raises: TimeoutError; KafkaError; what the step raises.
    """
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()
    if not task.done():
        raise TimeoutError(f"Kafka's client did not come to an end within {seconds:g} s")
    if task.cancelled():
        raise KafkaError("Kafka's client gave up")
    return task.result()


@dataclass(frozen=True)
class Cluster:
    """`id` changes when an embedded broker starts anew; `topics_created` when ours had to be made just now."""

    id: str
    topics_created: bool


@dataclass(frozen=True)
class Layout:
    """What a reader must know: another cluster, or a partition more, and it has to start over."""

    cluster_id: str
    partitions: frozenset[TopicPartition]


class Broker:
    """One admin connection, made at first use and made again after an error."""

    def __init__(self, bootstrap: str, client_id: str, retention: timedelta) -> None:
        """`retention`: how long the topics that it makes keep an event, as long as outboxes can send it again."""
        self.bootstrap = bootstrap
        self._retention = retention
        self._client_id = client_id
        self._admin: AIOKafkaAdminClient | None = None
        self._lock = asyncio.Lock()

    async def layout(self, topics: Collection[str]) -> Layout:
        """The cluster, and what there is of `topics` by now."""
        metadata = await self._metadata()
        there = (topic for topic in metadata["topics"] if not topic["error_code"] and topic["topic"] in topics)
        partitions = (
            TopicPartition(topic["topic"], each["partition"]) for topic in there for each in topic["partitions"]
        )
        return Layout(str(metadata["cluster_id"]), frozenset(partitions))

    async def ensure_topics(self, component: str) -> Cluster:
        """Makes the two topics of `component` where they are missing."""
        metadata = await self._metadata()
        there = _names(metadata)
        wanted = [addresses.topic(component), addresses.dead_letter_topic(component)]
        missing = [name for name in wanted if name not in there]
        if missing:
            await self._create(missing)
        return Cluster(str(metadata["cluster_id"]), topics_created=wanted[0] in missing)

    def producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            client_id=self._client_id,
            acks="all",
            max_batch_size=ONE_RECORD,
            request_timeout_ms=REQUEST_MS,
            metadata_max_age_ms=30_000,
        )

    @asynccontextmanager
    async def reading(
        self, partitions: Collection[TopicPartition], group: str | None
    ) -> AsyncIterator[AIOKafkaConsumer]:
        """Reads all of `partitions`: from where `group` committed by hand, else from the oldest event; without a group
        from now on.

        The reader is no member of its group: who reads is decided in the database. So it reads at once, and no member
        that died, or could not leave, keeps a partition from it. Raises: KafkaError; TimeoutError.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            client_id=self._client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest" if group else "latest",
            retry_backoff_ms=20,
            request_timeout_ms=REQUEST_MS,
            max_poll_records=100,
            metadata_max_age_ms=30_000,
        )
        consumer.assign(list(partitions))
        try:
            await patiently(consumer.start())
            yield consumer
        finally:
            with suppress(TimeoutError, KafkaError):
                await patiently(consumer.stop())

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(TimeoutError, KafkaError):
                await patiently(admin.close())

    async def _metadata(self) -> dict[str, Any]:
        async with self._lock:
            try:
                if self._admin is None:
                    admin = AIOKafkaAdminClient(
                        bootstrap_servers=self.bootstrap, client_id=self._client_id, request_timeout_ms=REQUEST_MS
                    )
                    await patiently(admin.start())
                    self._admin = admin
                response = await patiently(self._admin._get_cluster_metadata())
                metadata: dict[str, Any] = response.to_object()
                return metadata
            except (KafkaError, OSError, TimeoutError):
                await self.close()
                raise

    async def _create(self, topics: list[str]) -> None:
        assert self._admin is not None
        try:
            kept = {"retention.ms": str(self._retention // timedelta(milliseconds=1))}
            new = [NewTopic(name, PARTITIONS, replication_factor=1, topic_configs=kept) for name in topics]
            await patiently(self._admin.create_topics(new))
        except TopicAlreadyExistsError:
            return  # another process of this service was faster


def _names(metadata: dict[str, Any]) -> frozenset[str]:
    return frozenset(topic["topic"] for topic in metadata["topics"] if not topic["error_code"])
