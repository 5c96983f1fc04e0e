"""What a replica is launched as: a module for each engine, what it is told, and what it asks of a machine."""

from __future__ import annotations

import json
from typing import Any

from gyre.gpu_scheduler.v1 import node_pb2, workload_pb2
from gyre_kit.names import last

from services.inference_gateway.models.deployments import Deployment, Target
from services.inference_gateway.settings import Settings
from services.inference_gateway.targets import short_version

MODULES = {
    "LLAMA_CPP": "services.inference_gateway.engine",
    "VLLM": "services.inference_gateway.engine_vllm",
}
QUICK_FAILURES = 5  # of a replica, before the scheduler gives up its workload


def workload(
    settings: Settings, deployment: Deployment, target: Target, *, guaranteed: bool = False
) -> workload_pb2.WorkloadSpec:
    """One of a target's replicas."""
    return workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_REPLICA,
        module=MODULES[target.engine],
        spec_json=json.dumps(_spec(settings, deployment, target)),
        requests=requests(settings, target),
        queue=deployment.queue,
        priority=100,
        guaranteed=guaranteed,
        max_attempts=QUICK_FAILURES,
        owner=deployment.name,
        user=deployment.created_by,
        display_name=f"{last(deployment.name)}@{short_version(target)}",
    )


def _spec(settings: Settings, deployment: Deployment, target: Target) -> dict[str, Any]:
    common = {
        "model_uri": target.variant_uri,
        "model_digest": target.variant_digest,
        "model_name": last(deployment.name),
        "parallel": settings.replica_parallel,
        "context_size": settings.replica_context_size,
    }
    if target.engine == "VLLM":  # its adapters are loaded when they are asked for
        return common | {"python": settings.vllm_python, "max_adapters": settings.replica_adapters}
    adapters = [{"uri": each["uri"], "digest": each["digest"]} for each in target.adapters]
    return common | {"threads": settings.replica_threads} | ({"adapters": adapters} if adapters else {})


def requests(settings: Settings, target: Target) -> node_pb2.Resources:
    if target.engine == "VLLM":
        memory, cards = settings.vllm_memory_bytes, settings.vllm_cards
        return node_pb2.Resources(cpu_milli=settings.replica_cpu_milli, memory_bytes=memory, gpu=cards)
    return node_pb2.Resources(cpu_milli=settings.replica_cpu_milli, memory_bytes=settings.replica_memory_bytes)
