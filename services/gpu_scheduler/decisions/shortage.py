"""What is missing for a workload that fits nowhere, on the flavor that comes closest."""

from __future__ import annotations

from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.places import Pool
from services.gpu_scheduler.decisions.reasons import Reason, Why
from services.gpu_scheduler.decisions.work import Workload

CLOSER = (
    Reason.NO_READY_NODE,
    Reason.WOULD_NEVER_FIT,
    Reason.QUOTA_EXHAUSTED,
    Reason.NO_FREE_GPU,
    Reason.NO_FREE_MEMORY,
    Reason.NO_FREE_CPU,
    Reason.RESERVED_FOR_HIGHER_PRIORITY,
)


def why(cluster: Cluster, workload: Workload) -> Why:
    """Of one that waits, as things are now."""
    if workload.name in cluster.promises:
        return Why(Reason.WAITING_FOR_PREEMPTION, cluster.promises[workload.name].flavor)
    if workload.shape not in cluster.lines[workload.queue].parked:
        return Why(Reason.NOT_CONSIDERED_YET)
    flavors = cluster.flavors(workload)
    found = [Why(reason, flavor) for flavor in flavors if (reason := _on(cluster, workload, flavor)) is not None]
    if flavors and not found:
        return Why(Reason.NOT_CONSIDERED_YET)
    if found:
        return max(found, key=lambda each: CLOSER.index(each.reason))
    is_there = cluster.places is not None and any(
        pool.rooms
        for flavor, pool in cluster.places.pools.items()
        if not workload.flavors or flavor in workload.flavors
    )
    return Why(Reason.WOULD_NEVER_FIT if is_there else Reason.NO_READY_NODE)


def _on(cluster: Cluster, workload: Workload, flavor: str) -> Reason | None:
    """None: it would fit, but is better off on another."""
    pool = cluster.places.pools.get(flavor) if cluster.places is not None else None
    if cluster.places is not None and (pool is None or not pool.rooms):
        return Reason.NO_READY_NODE
    if not cluster.could_ever(workload, flavor):
        return Reason.WOULD_NEVER_FIT
    if not cluster.tree.fits(workload.queue, cluster.cells(workload, flavor)):
        return Reason.QUOTA_EXHAUSTED
    if pool is None or _fits_without_promises(cluster, workload.requests, pool):
        return Reason.RESERVED_FOR_HIGHER_PRIORITY
    if pool.place(workload.requests) is not None:
        is_kept = any(each.flavor == flavor for each in cluster.reservations.values())
        return Reason.RESERVED_FOR_HIGHER_PRIORITY if is_kept else None
    return max(
        (_lacking(room_has, workload.requests) for room_has in _rooms(pool, workload.requests)), key=CLOSER.index
    )


def _fits_without_promises(cluster: Cluster, requests: Amount, pool: Pool) -> bool:
    """Would it fit, if nothing were kept for anybody?"""
    kept = [share for each in cluster.promises.values() for share in each.placement if share.node in pool.rooms]
    for share in kept:
        pool.change(share, take=False)
    fits = pool.place(requests) is not None
    for share in kept:
        pool.change(share, take=True)
    return bool(kept) and fits


def _rooms(pool: Pool, requests: Amount) -> list[tuple[int, int, int]]:
    """What is free on each node that is large enough; of a gang that needs several, on the largest."""
    large = [
        room
        for room in pool.rooms.values()
        if room.size >= min(requests.cards, pool.size)
        and (requests.cards > pool.size or Amount(*requests[:2]).fits_in(room.node.capacity))
    ]
    return [(room.cpu, room.memory, max([0, *room.cards, room.whole * 1000])) for room in large]


def _lacking(free: tuple[int, int, int], wanted: Amount) -> Reason:
    """The scarcest kind first."""
    if wanted.gpu_milli > free[2]:
        return Reason.NO_FREE_GPU
    return Reason.NO_FREE_MEMORY if wanted.memory_bytes > free[1] else Reason.NO_FREE_CPU
