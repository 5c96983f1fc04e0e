"""A database with an empty outbox and inbox, and a broker that a test may kill: the session's own serves others."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from gyre_kit import migrate
from gyre_kit.broker import Broker
from gyre_kit.db import Database
from gyre_kit.testing import ManualClock, Platform, eventually

from deploy.local import broker
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.settings import RuntimeSettings

COMPONENT, TOPIC = "feedback", "gyre.feedback"
RETENTION = timedelta(hours=1)


@dataclass
class Kafka:
    """An embedded broker on a port of its own. Each start is an empty cluster, as after a crash."""

    address: str
    folder: Path
    process: Popen[bytes] | None = field(default=None)

    async def start(self) -> None:
        self.process = Popen(broker.command(self.address), stdout=DEVNULL, stderr=DEVNULL, cwd=self.folder)  # noqa: ASYNC220 - returns at once
        await eventually(self._answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=10)
            self.process = None

    def client(self) -> Broker:
        return Broker(self.address, "test", RETENTION)

    async def read(self, count: int, topic: str = TOPIC) -> list[ConsumerRecord]:
        """The first `count` messages of the topic, as a reader who is no service of ours sees them."""
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.address,
            auto_offset_reset="earliest",
            metadata_max_age_ms=500,  # the topic may appear only later
        )
        await consumer.start()
        try:
            return [await asyncio.wait_for(consumer.getone(), timeout=60) for _ in range(count)]
        finally:
            await consumer.stop()

    async def _answers(self) -> bool:
        client = self.client()
        try:
            return bool((await client.layout([])).cluster_id)
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = Kafka(f"127.0.0.1:{port}", tmp_path)
    await started.start()
    yield started
    started.kill()


@pytest.fixture
async def db(platform: Platform, clock: ManualClock) -> AsyncIterator[Database]:
    url = platform.settings().database_url_of(COMPONENT)
    await migrate.upgrade(url, COMPONENT)
    await platform.empty(COMPONENT)
    database = Database(url, COMPONENT, clock)
    yield database
    await database.close()
    await platform.empty(COMPONENT)


@pytest.fixture
def refusing(platform: Platform) -> Callable[[], AbstractAsyncContextManager[None]]:
    """`async with refusing():` PostgreSQL is there but lets the service in no more, as while it recovers."""
    settings = RuntimeSettings(home=platform.home)
    server = EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder)

    @asynccontextmanager
    async def refuse() -> AsyncIterator[None]:
        superuser = await server.connect()
        try:
            await superuser.execute(f"ALTER ROLE {COMPONENT} CONNECTION LIMIT 0")
            await superuser.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{COMPONENT}'"
            )
            yield
        finally:
            await superuser.execute(f"ALTER ROLE {COMPONENT} CONNECTION LIMIT -1")
            await superuser.close()

    return refuse
