"""Whom to stop so that the fewest stops make room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.places import Pool
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


def fewest(
    cluster: Cluster, workload: Workload, flavor: str, candidates: Sequence[Workload], most: int
) -> Sequence[Workload]:
    """Of `candidates`, the first in order where it matters, at most so many that free the node or nodes that `workload`
    needs; none where they cannot. What needs no card takes them in their order.
    """
    cards = workload.requests.cards
    pool = cluster.places.pools.get(flavor) if cluster.places is not None else None
    if pool is None or not cards:
        return candidates[:most]
    if not pool.size:  # no node of it is ready
        return ()
    held: dict[str, list[tuple[Workload, int]]] = {}
    for each in candidates:
        for share in each.placement:
            held.setdefault(share.node, []).append((each, share.amount.cards))
    chosen = _of_one_node(pool, held, cards, most) if cards <= pool.size else _of_whole_nodes(pool, held, cards)
    return chosen if len(chosen) <= most else ()


def _of_one_node(
    pool: Pool, held: Mapping[str, Sequence[tuple[Workload, int]]], cards: int, most: int
) -> Sequence[Workload]:
    best: list[Workload] = []
    for node, holders in held.items():
        room = pool.rooms.get(node)
        chosen = _needed(holders, cards - room.whole) if room is not None else []
        if 0 < len(chosen) <= most and (not best or len(chosen) < len(best)):
            best = chosen
    return best


def _of_whole_nodes(pool: Pool, held: Mapping[str, Sequence[tuple[Workload, int]]], cards: int) -> Sequence[Workload]:
    """Of the nodes that they could clear, those that take the fewest stops, beside what is clear already."""
    missing = -(-cards // pool.size) - len(pool.buckets[pool.size])
    clearable = [
        (len(holders), number, node)
        for number, (node, holders) in enumerate(held.items())
        if node in pool.rooms and pool.rooms[node].whole + sum(count for _, count in holders) >= pool.size
    ]
    if missing > len(clearable):
        return ()
    stopped = {each.name: each for _, _, node in sorted(clearable)[: max(0, missing)] for each, _ in held[node]}
    return list(stopped.values())


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
