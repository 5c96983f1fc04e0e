"""Lineage: the registry's own edges, and beyond them what other services say of their things.

Backwards a served answer leads to a variant, a version, a run, data set versions, a batch and the feedback in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.feedback.v1 import batch_service_pb2, feedback_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from gyre.inference_gateway.v1 import completion_service_pb2
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre.model_registry.v1 import lineage_pb2
from gyre.training_scheduler.v1 import run_service_pb2
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.app import Context
from gyre_kit.errors import NotFound
from gyre_kit.rpc import Clients

from services.model_registry import store

MOST_NODES = 500
KINDS = {
    "versions": "version",
    "variants": "variant",
    "runs": "run",
    "batches": "batch",
    "feedback": "feedback",
    "completions": "completion",
    "aliases": "alias",
    "verdicts": "verdict",
    "pipelines": "pipeline",
}
Edge = tuple[str, str, str]
Reply = TypeVar("Reply")


@dataclass
class Graph:
    edges: dict[Edge, None] = field(default_factory=dict)  # in the order of their discovery
    names: dict[str, None] = field(default_factory=dict)
    truncated: bool = False


async def walk(context: Context, name: str, *, upstream: bool, downstream: bool, depth: int) -> lineage_pb2.Lineage:
    """Raises: NotFound if nothing is known of that name."""
    graph = Graph(names={name: None})
    if upstream:
        await _walk(context, graph, name, depth, back=True)
    if downstream:
        await _walk(context, graph, name, depth, back=False)
    if not graph.edges:
        raise NotFound(f"No lineage is known of {name}.", name=name)
    async with context.db.transaction() as session:
        known = await store.versions_and_variants(session, list(graph.names))
    nodes = [
        lineage_pb2.LineageNode(
            name=each,
            kind=kind_of(each),
            display_name=known[each].display_name if each in known else "",
            digest=known[each].digest if each in known else "",
        )
        for each in graph.names
    ]
    edges = [lineage_pb2.LineageEdge(source=s, target=t, relation=relation) for s, t, relation in graph.edges]
    return lineage_pb2.Lineage(nodes=nodes, edges=edges, truncated=graph.truncated)


async def _walk(context: Context, graph: Graph, start: str, depth: int, *, back: bool) -> None:
    front, seen = [start], {start}
    for _ in range(depth):
        found = await _own_edges(context, front, back)
        if back:
            found += await _others_edges(context.clients, front)
        graph.edges |= dict.fromkeys(found)
        ends = [source if back else target for source, target, _ in found]
        front = [name for name in dict.fromkeys(ends) if name not in seen]
        seen.update(front)
        graph.names |= dict.fromkeys(front)
        if not front:
            return
        if len(graph.names) > MOST_NODES:
            break
    graph.truncated = True


async def _own_edges(context: Context, names: list[str], back: bool) -> list[Edge]:
    async with context.db.transaction() as session:
        edges = await store.edges_at(session, names, upstream=back)
    return [(edge.source, edge.target, edge.relation) for edge in edges]


async def _others_edges(clients: Clients, names: list[str]) -> list[Edge]:
    asked = [ASK[key](clients, name) for name in names if (key := _ask_key(name)) in ASK]
    return [edge for edges in await asyncio.gather(*asked) for edge in edges]


def _ask_key(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[2::2])


def kind_of(name: str) -> str:
    parts = name.split("/")
    if "datasets" in parts:
        return "dataset_version"
    if "models" in parts and parts[-2] == "versions":
        return "model_version"
    return KINDS.get(parts[-2], parts[-2]) if len(parts) > 1 else "unknown"


async def _of_dataset_version(clients: Clients, name: str) -> list[Edge]:
    version = await _ask(
        clients.stub(DatasetVersionServiceStub).GetVersion(dataset_versions.GetVersionRequest(name=name))
    )
    return [(source, name, "derived") for source in version.derived_from] if version else []


async def _of_batch(clients: Clients, name: str) -> list[Edge]:
    batch = await _ask(clients.stub(BatchServiceStub).GetBatch(batch_service_pb2.GetBatchRequest(name=name)))
    return [(feedback, name, "gathered") for feedback in batch.feedback] if batch else []


async def _of_feedback(clients: Clients, name: str) -> list[Edge]:
    stub = clients.stub(FeedbackServiceStub)
    feedback = await _ask(stub.GetFeedback(feedback_service_pb2.GetFeedbackRequest(name=name)))
    return [(feedback.completion, name, "said_about")] if feedback else []


async def _of_completion(clients: Clients, name: str) -> list[Edge]:
    stub = clients.stub(CompletionServiceStub)
    completion = await _ask(stub.GetCompletion(completion_service_pb2.GetCompletionRequest(name=name)))
    source = (completion.variant or completion.model_version) if completion else ""
    return [(source, name, "answered")] if source else []


async def _of_run(clients: Clients, name: str) -> list[Edge]:
    run = await _ask(clients.stub(RunServiceStub).GetRun(run_service_pb2.GetRunRequest(name=name)))
    if run is None:
        return []
    edges = [(dataset, name, "trained_on") for dataset in run.spec.datasets]
    return [*edges, (run.spec.base, name, "based_on")]


async def _ask(call: Awaitable[Reply]) -> Reply | None:
    """None where the thing is gone; a service that is away is an error of the whole walk."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


ASK: dict[str, Callable[[Clients, str], Awaitable[list[Edge]]]] = {
    "datasets/versions": _of_dataset_version,
    "batches": _of_batch,
    "feedback": _of_feedback,
    "completions": _of_completion,
    "runs": _of_run,
}
