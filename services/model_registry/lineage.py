"""Lineage as a graph, in both directions and as of a time: the registry's own links, and what other services say.

Backwards a served answer leads to a deployment, a variant, a verdict, a version, a run, data set versions, a batch and
the feedback in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gyre.model_registry.v1 import lineage_pb2
from gyre_kit.app import Context
from gyre_kit.errors import NotFound

from services.model_registry import asking, history, store
from services.model_registry.asking import Answer, Crowd
from services.model_registry.history import Link
from services.model_registry.models import Variant, Version

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
    "deployments": "deployment",
}


KEPT_WHOLE = ("runs", "deployments")  # of which nobody is asked where anything is kept here


@dataclass(frozen=True)
class Question:
    """What is asked. `time` is None for now: only then crowds are counted, for their services count no past."""

    name: str
    depth: int
    upstream: bool = True
    downstream: bool = True
    time: datetime | None = None


@dataclass
class Graph:
    links: dict[tuple[str, str, str], Link] = field(default_factory=dict)  # in the order of their discovery
    names: dict[str, None] = field(default_factory=dict)
    crowds: dict[str, Crowd] = field(default_factory=dict)
    truncated: bool = False


async def walk(context: Context, question: Question) -> lineage_pb2.Lineage:
    """Raises: NotFound if nothing is, or was at that time, known of that name."""
    graph = Graph(names={question.name: None})
    if question.upstream:
        await _walk(context, graph, question, upstream=True)
    if question.downstream:
        await _walk(context, graph, question, upstream=False)
    if not graph.links:
        raise NotFound(f"No lineage is known of {question.name}.", name=question.name)
    async with context.db.transaction() as session:
        known = await store.versions_and_variants(session, list(graph.names))
    return lineage_pb2.Lineage(
        nodes=[_node(name, graph.crowds.get(name), known.get(name)) for name in graph.names],
        edges=[_edge(link) for link in graph.links.values()],
        truncated=graph.truncated,
    )


def kind_of(name: str) -> str:
    parts = name.split("/")
    if "datasets" in parts:
        return "dataset_version"
    if "models" in parts and parts[-2] == "versions":
        return "model_version"
    return KINDS.get(parts[-2], parts[-2]) if len(parts) > 1 else "unknown"


async def _walk(context: Context, graph: Graph, question: Question, *, upstream: bool) -> None:
    front, seen = [question.name], {question.name}
    for _ in range(question.depth):
        answer = await _step(context, front, question.time, upstream=upstream)
        graph.links |= {link.key: link for link in answer.links if link.key not in graph.links}
        graph.crowds |= {crowd.name: crowd for crowd in answer.crowds}
        ends = [link.source if upstream else link.target for link in answer.links]
        new = [name for name in dict.fromkeys(ends) if name not in seen]
        seen.update(new)
        graph.names |= dict.fromkeys(new)
        front = [name for name in new if name not in graph.crowds]
        if not front:
            return
        if len(graph.names) > MOST_NODES:
            break
    graph.truncated = True


async def _step(context: Context, names: Sequence[str], time: datetime | None, *, upstream: bool) -> Answer:
    """1 what is kept here, 2 what others say where nothing is kept, 3 without what came about after `time`."""
    async with context.db.transaction() as session:
        found = Answer(await history.links_at(session, names, time or context.clock.now(), upstream=upstream))
        data = await history.known_data(session, names) if upstream else {}
    for known in data.values():
        if time is None or known.time <= time:
            asking.rows_of(known.name, known.row_count, known.time, found)
    whole = {link.target for link in found.links if asking.collections_of(link.target) in KEPT_WHOLE} | set(data)
    asked = asking.known_to_others((name for name in names if name not in whole), _asked(time, upstream=upstream))
    for answer in await asyncio.gather(*(ask(context.clients, name) for ask, name in asked)):
        found.links += [link for link in answer.links if time is None or link.time is None or link.time <= time]
        found.crowds += answer.crowds
    return found


def _asked(time: datetime | None, *, upstream: bool) -> dict[str, asking.Asked]:
    asked = asking.UPSTREAM if upstream else asking.DOWNSTREAM
    return asked if time is None else {key: ask for key, ask in asked.items() if ask not in asking.OF_NOW}


def _node(name: str, crowd: Crowd | None, known: Version | Variant | None) -> lineage_pb2.LineageNode:
    if crowd:
        return lineage_pb2.LineageNode(name=name, kind=crowd.kind, count=crowd.count, list_path=crowd.list_path)
    return lineage_pb2.LineageNode(
        name=name,
        kind=kind_of(name),
        display_name=known.display_name if known else "",
        digest=known.digest if known else "",
    )


def _edge(link: Link) -> lineage_pb2.LineageEdge:
    edge = lineage_pb2.LineageEdge(
        source=link.source, target=link.target, relation=link.relation, weight_percent=link.weight_percent
    )
    if link.time:
        edge.time.FromDatetime(link.time)
    return edge
