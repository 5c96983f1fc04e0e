from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from gyre.gpu_scheduler.v1 import cluster_queue_pb2, node_pb2, queue_pb2
from gyre.gpu_scheduler.v1 import cluster_queue_service_pb2 as rpc
from gyre.gpu_scheduler.v1.cluster_queue_service_pb2_grpc import ClusterQueueServiceStub
from gyre_kit.app import App, Context
from gyre_kit.auth import SYSTEM, Role, acting_as
from gyre_kit.rpc import Clients, from_rpc
from gyre_kit.testing import ENGINEER, Platform


@pytest.fixture(autouse=True)
async def scheduler(platform: Platform, app: App) -> AsyncIterator[Context]:
    async with platform.serving(app) as (context,):
        yield context
    await platform.empty("gpu_scheduler")


async def test_operators_manage_cluster_queues_over_grpc_and_others_only_read(clients: Clients) -> None:
    stub = clients.stub(ClusterQueueServiceStub)
    wanted = cluster_queue_pb2.ClusterQueue(
        cohort="cohorts/research",
        weight=2,
        preemption=cluster_queue_pb2.Preemption(within_cluster_queue="POLICY_NEVER", borrow_max_priority=5),
        quotas=[queue_pb2.FlavorQuota(flavor="flavors/cpu", borrowing_limit=node_pb2.Resources(cpu_milli=500))],
    )
    create = rpc.CreateClusterQueueRequest(cluster_queue_id="team", cluster_queue=wanted)
    for stranger in (ENGINEER, replace(ENGINEER, role=Role.ADMIN)):
        with acting_as(stranger), pytest.raises(grpc.aio.AioRpcError) as denied:
            await stub.CreateClusterQueue(create)
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with acting_as(SYSTEM):
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await stub.CreateClusterQueue(create)
        assert from_rpc(missing.value).reason == "COHORT_NOT_FOUND"
        await stub.CreateCohort(rpc.CreateCohortRequest(cohort_id="research"))
        made = await stub.CreateClusterQueue(create)
    assert (made.name, made.weight, made.quotas[0].borrowing_limit.cpu_milli) == ("clusterQueues/team", 2, 500)
    assert not made.quotas[0].HasField("lending_limit")
    rules = made.preemption
    assert (rules.within_cluster_queue, rules.reclaim_within_cohort, rules.borrow_max_priority) == (1, 4, 5)
    listed = await stub.ListClusterQueues(rpc.ListClusterQueuesRequest(filter="cohort=cohorts/research"))
    assert [each.name for each in listed.cluster_queues] == ["clusterQueues/team"]
    assert (await stub.GetCohort(rpc.GetCohortRequest(name="cohorts/research"))).member_count == 1
