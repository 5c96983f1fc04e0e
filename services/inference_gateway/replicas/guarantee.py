"""Whether the queue of a deployment's replicas can hold by its own quota as many as are guaranteed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import grpc
from gyre.gpu_scheduler.v1 import queue_pb2, queue_service_pb2
from gyre.gpu_scheduler.v1.node_pb2 import Resources
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre_kit.app import Context

from services.inference_gateway.models.deployments import Deployment, Target
from services.inference_gateway.replicas import launching
from services.inference_gateway.replicas.schedule import Schedule, most_guaranteed
from services.inference_gateway.targets import always

log = logging.getLogger(__name__)


async def warning(context: Context, deployment: Deployment, targets: Sequence[Target]) -> str:
    """For people; empty where it can, or where the scheduler does not say."""
    least = most_guaranteed(always(deployment), Schedule.from_json(deployment.schedule))
    launched = [launching.requests(context.settings, target) for target in targets if target.variant]
    if not least or not launched:
        return ""
    name = deployment.queue or f"projects/{deployment.project}/queues/default"
    try:
        queue = await context.clients.stub(QueueServiceStub).GetQueue(queue_service_pb2.GetQueueRequest(name=name))
    except grpc.aio.AioRpcError as error:
        log.warning("the quota of a deployment is not known", extra={"queue": name, "reason": error.code().name})
        return ""
    return said(least, min(held(queue.quotas, each, least) for each in launched))


def held(quotas: Iterable[queue_pb2.FlavorQuota], asked: Resources, most: int) -> int:
    """How many replicas the nominal quotas have room for, `most` at most. Without quotas nothing bounds them."""
    rooms = [_room(quota.nominal, asked) for quota in quotas]
    return min(sum(rooms), most) if rooms else most


def said(least: int, held: int) -> str:
    if held >= least:
        return ""
    return (
        f"Its queue's own quota holds {held} of the {least} replicas that it is to have at least; what runs beyond that "
        "may have to make room. Ask an operator for quota, or lower the minimum."
    )


def _room(nominal: Resources, asked: Resources) -> int:
    kinds = [(nominal.cpu_milli, asked.cpu_milli), (nominal.memory_bytes, asked.memory_bytes), (nominal.gpu, asked.gpu)]
    return min(own // amount for own, amount in kinds if amount)
