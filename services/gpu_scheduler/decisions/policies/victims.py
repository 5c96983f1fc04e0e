"""Whom to stop so that the fewest stops make room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


def fewest(
    cluster: Cluster, workload: Workload, flavor: str, candidates: Sequence[Workload], most: int
) -> Sequence[Workload]:
    """Of `candidates`, whose order is kept, at most so many that free one node for `workload`; none where they cannot.

    What needs several nodes, or no card, takes them in their order.
    """
    cards = workload.requests.cards
    pool = cluster.places.pools.get(flavor) if cluster.places is not None else None
    if pool is None or not 0 < cards <= pool.size:
        return candidates[:most]
    held: dict[str, list[tuple[Workload, int]]] = {}
    for each in candidates:
        for share in each.placement:
            held.setdefault(share.node, []).append((each, share.amount.cards))
    best: list[Workload] = []
    for node, holders in held.items():
        room = pool.rooms.get(node)
        chosen = _needed(holders, cards - room.whole) if room is not None else []
        if 0 < len(chosen) <= most and (not best or len(chosen) < len(best)):
            best = chosen
    return best


def _needed(holders: Sequence[tuple[Workload, int]], missing: int) -> list[Workload]:
    """The first that have enough together, without those of which the cards are not needed after all."""
    chosen: list[tuple[Workload, int]] = []
    over = -missing
    for each, count in holders:
        chosen.append((each, count))
        over += count
        if over >= 0:
            break
    if over < 0:
        return []
    needed = []
    for each, count in chosen:
        if count <= over:
            over -= count
        else:
            needed.append(each)
    return needed
