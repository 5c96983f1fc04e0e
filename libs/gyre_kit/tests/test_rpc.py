"""Calls between services: how many of one caller are under way at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from gyre_kit.auth import acting_as
from gyre_kit.rpc import MOST_AT_ONCE
from gyre_kit.testing import ENGINEER, STRANGER, Platform, eventually

COMPONENT = "dataset"


class Slow(health_pb2_grpc.HealthServicer):
    """Answers when it may, and counts who is being answered. `service` of a request says whose it is."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.under_way: Counter[str] = Counter()
        self.given_up = 0

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        self.under_way[request.service] += 1
        if request.service == "many":
            try:
                await self.may.wait()
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        elif request.service == "nobody":
            await context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
        return health_pb2.HealthCheckResponse()

    async def knows_of(self, given_up: int) -> bool:
        return self.given_up == given_up

    async def are_under_way(self, many: int) -> bool:
        return self.under_way["many"] == many


@asynccontextmanager
async def slow(platform: Platform) -> AsyncIterator[tuple[Slow, Any]]:
    servicer, server, clients = Slow(), grpc.aio.server(), platform.clients()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(platform.settings().grpc_address(COMPONENT))
    await server.start()
    try:
        yield servicer, health_pb2_grpc.HealthStub(clients.channel(COMPONENT))
    finally:
        servicer.may.set()
        await clients.close()
        await server.stop(None)


async def test_of_one_caller_so_many_are_under_way_and_others_do_not_wait_for_them(platform: Platform) -> None:
    async with slow(platform) as (servicer, stub):
        with acting_as(ENGINEER):
            many = [asyncio.create_task(_ask(stub, "many")) for _ in range(3 * MOST_AT_ONCE)]
        await eventually(lambda: servicer.are_under_way(MOST_AT_ONCE))
        with acting_as(STRANGER):
            await _ask(stub, "one")
        assert servicer.under_way == {"many": MOST_AT_ONCE, "one": 1}
        servicer.may.set()
        await asyncio.gather(*many)
        assert servicer.under_way["many"] == 3 * MOST_AT_ONCE


async def test_whoever_gives_up_or_is_refused_lets_the_next_one_go(platform: Platform) -> None:
    async with slow(platform) as (servicer, stub):
        with acting_as(ENGINEER):
            many = [asyncio.create_task(_ask(stub, "many")) for _ in range(MOST_AT_ONCE + 1)]
            await eventually(lambda: servicer.are_under_way(MOST_AT_ONCE))
            many[-1].cancel()
            many[0].cancel()
            await eventually(lambda: servicer.knows_of(given_up=1))  # the other one never came so far
            for _ in range(MOST_AT_ONCE):
                with pytest.raises(grpc.aio.AioRpcError):
                    await _ask(stub, "nobody")
            servicer.may.set()
            ended = await asyncio.gather(*many, return_exceptions=True)
    assert [type(each) for each in (ended[0], ended[-1])] == [asyncio.CancelledError] * 2


async def _ask(stub: Any, service: str) -> None:
    await asyncio.wait_for(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30), 30)
