"""The real broker out of the wheel, and the questions that are asked of servers."""

# ruff: noqa: ASYNC220 - starting a process takes a millisecond, and nothing else waits for this loop

from __future__ import annotations

import asyncio
import socket
import subprocess

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local import broker, ports, probes
from deploy.local.settings import RuntimeSettings


async def cluster_id(address: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()


async def test_each_start_of_the_broker_is_another_cluster(settings: RuntimeSettings) -> None:
    address, seen = settings.kafka_address, set()
    for _ in range(2):
        process = subprocess.Popen(broker.command(address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await probes.until(lambda: probes.speaks_kafka(address), 10)
        seen.add(await cluster_id(address))
        process.kill()
        process.wait()
    assert len(seen) == 2


async def test_something_else_on_the_port_is_no_broker(settings: RuntimeSettings) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    host, _, port = settings.kafka_address.rpartition(":")
    server = await asyncio.start_server(babble, host, int(port))
    assert not await probes.speaks_kafka(settings.kafka_address)
    server.close()
    await server.wait_closed()
    assert not await probes.speaks_kafka(settings.kafka_address)


async def test_health_of_nobody_is_unreachable(settings: RuntimeSettings) -> None:
    assert await probes.health(settings.grpc_address("dataset")) == "UNREACHABLE"


async def test_a_taken_port_is_named_with_the_remedy(settings: RuntimeSettings) -> None:
    address = one_of_ours(settings)
    with (
        socket.create_server(address),
        pytest.raises(ports.PortTaken, match=rf"{address[1]} \(REST\).*GYRE_PORT_OFFSET"),
    ):
        await ports.ensure_free({"REST": address[1]})
    await ports.ensure_free({"REST": address[1]})


async def test_a_port_from_which_somebody_talks_is_taken_too(settings: RuntimeSettings) -> None:
    address = one_of_ours(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as talker:
        talker.bind(address)
        talker.connect(listener.getsockname())
        with pytest.raises(ports.PortTaken, match=rf"{address[1]} \(REST\) by"):
            await ports.ensure_free({"REST": address[1]})
    await ports.ensure_free({"REST": address[1]})


def one_of_ours(settings: RuntimeSettings) -> tuple[str, int]:
    """Below the range from which the kernel takes the ports of outgoing connections: nobody else is given it."""
    host, _, port = settings.kafka_address.rpartition(":")
    return host, int(port)
