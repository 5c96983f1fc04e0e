"""The members of an attempt: what of it runs on which node."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from gyre_kit.db import Session

from services.gpu_scheduler import store_nodes
from services.gpu_scheduler.launchers.base import LaunchFailed, Member
from services.gpu_scheduler.models import Attempt, Node

KNOWN = frozenset(field.name for field in fields(Member))


def of(attempt: Attempt) -> tuple[Member, ...]:
    """In the order of their ranks. An admission to one node is a gang of one."""
    return tuple(_member(given) for given in attempt.members) or (
        Member(
            attempt.node,
            cpu_milli=attempt.cpu_milli,
            memory_bytes=attempt.memory_bytes,
            gpu=attempt.gpu,
            cards=tuple(attempt.card_uuids),
        ),
    )


async def place(session: Session, attempt: Attempt) -> None:
    """Writes down who launches the attempt, and what that calls its nodes. Raises: LaunchFailed."""
    wanted = of(attempt)
    nodes = {node.name: node for node in await store_nodes.nodes(session)}
    absent = [member.node for member in wanted if member.node not in nodes]
    if absent:
        raise LaunchFailed(f"there is no node {absent[0]}")
    launchers = {nodes[member.node].launcher for member in wanted}
    if len(launchers) != 1:
        raise LaunchFailed(f"a gang cannot span launchers, and its nodes are of {' and '.join(sorted(launchers))}")
    attempt.launcher = launchers.pop()
    attempt.members = [_placed(member, nodes[member.node]) for member in wanted]


def _member(given: dict[str, Any]) -> Member:
    values = {name: value for name, value in given.items() if name in KNOWN}
    return Member(**values | {"cards": tuple(given.get("cards", ()))})


def _placed(member: Member, node: Node) -> dict[str, Any]:
    return asdict(member) | {"cards": list(member.cards), "place": node.place, "host": node.address}
