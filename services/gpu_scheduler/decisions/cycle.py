"""One cycle: heads → order → nominate → admit, or make room → the rest waits. The books change as it decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.gpu_scheduler.decisions import preemption
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.contest import Contest
from services.gpu_scheduler.decisions.policies.base import Flavors
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.reservation import Reservations
from services.gpu_scheduler.decisions.work import Placement, Workload


@dataclass(frozen=True, slots=True)
class Admit:
    workload: Workload
    flavor: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class Evict:
    """`workload` has to go so that `gains` fits."""

    workload: Workload
    gains: Workload
    rule: Rule


Decision = Admit | Evict


def run(cluster: Cluster, now: float, most: float = math.inf) -> list[Decision]:
    """Decides about everything of which the answer may have changed since the last cycle.

    Where it comes to `most` decisions it stops, and `cluster.dirty` names the queues that are still to be looked at.
    """
    decisions: list[Decision] = []
    if cluster.policy.epoch != cluster.epoch:
        cluster.rank_again()
    for promise in cluster.fulfilled():  # 1 who left, left for somebody
        cluster.admit(promise.workload, promise.flavor, promise.placement, now)
        decisions.append(Admit(promise.workload, promise.flavor, promise.placement))
    kept = Reservations(cluster)
    if cluster.dirty:
        decisions += _reserve(cluster, kept, now)  # 2 what is kept for whom
    looked_at = list(cluster.dirty)
    decisions += _contest(
        cluster, kept, cluster.policy.flavors, now, most, make_room=True
    )  # 3 heads, each on what suits it
    for workload, flavor in cluster.policy.moves(cluster, now):  # 4 who had better go on elsewhere
        decisions += _move(cluster, workload, flavor, now)
    if cluster.policy.has_second_choice and not cluster.dirty and cluster.is_anything_free():  # 5 nothing stays idle
        cluster.open(looked_at)
        decisions += _contest(cluster, kept, cluster.policy.falls_back, now, most, make_room=False)
    kept.release()
    cluster.evicted += sum(1 for each in decisions if isinstance(each, Evict))
    return decisions


def _reserve(cluster: Cluster, kept: Reservations, now: float) -> list[Decision]:
    decisions: list[Decision] = []
    for workload in cluster.policy.reserves(cluster, now):
        flavors = [*cluster.policy.flavors(cluster, workload, now), *cluster.policy.falls_back(cluster, workload, now)]
        admitted = _nominate(cluster, kept, workload, flavors, now)
        if admitted is not None:
            cluster.admit(workload, admitted.flavor, admitted.placement, now)
            decisions.append(admitted)
            continue
        made = _make_room(cluster, workload, now)
        decisions += made
        if not made:
            kept.make(workload, flavors, now)
    kept.all_made()
    return decisions


def _contest(
    cluster: Cluster, kept: Reservations, flavors: Flavors, now: float, most: float, *, make_room: bool
) -> list[Decision]:
    decisions: list[Decision] = []
    contest = Contest(cluster)  # 1 heads
    while len(decisions) < most and (candidate := contest.next()) is not None:  # 2 order
        line, shape, entry = candidate
        workload = entry[2]
        admitted = _nominate(cluster, kept, workload, flavors(cluster, workload, now), now)  # 3 nominate
        if admitted is not None:
            cluster.admit(workload, admitted.flavor, admitted.placement, now)  # 4 admit
            decisions.append(admitted)
            contest.served(line, shape)
            continue
        made = _make_room(cluster, workload, now) if make_room else []  # 5 or make room
        decisions += made
        if made:
            contest.served(line, shape)
            continue
        cluster.park(line, shape, entry)  # 6 or wait
        contest.failed(line)
    contest.leave()
    return decisions


def _nominate(
    cluster: Cluster, kept: Reservations, workload: Workload, flavors: Sequence[str], now: float
) -> Admit | None:
    """The first flavor on which it fits, by quota and on nodes, or until others need what is kept for them."""
    for flavor in flavors:
        placement = cluster.fits(workload, flavor) or kept.before(workload, flavor, now)
        if placement is not None:
            return Admit(workload, flavor, placement)
    return None


def _make_room(cluster: Cluster, workload: Workload, now: float) -> list[Decision]:
    """Asks as few as possible to go; what they hold is promised. Nothing where nobody's going would help."""
    for flavor in cluster.policy.flavors(cluster, workload, now):
        found = preemption.find(cluster, workload, flavor, now)
        if found is not None and found.victims:
            for victim, _ in found.victims:
                cluster.take_out(victim)
            leaving = [victim for victim, _ in found.victims]
            cluster.promise(workload, flavor, found.placement, leaving, found.victims[0][1], now)
            return [Evict(victim, workload, rule) for victim, rule in found.victims]
    return []


def _move(cluster: Cluster, workload: Workload, flavor: str, now: float) -> list[Decision]:
    """It leaves for itself: what it gets elsewhere is promised to it."""
    cluster.take_out(workload)
    placement = cluster.fits(workload, flavor)
    if placement is None:
        cluster.put_back(workload)
        return []
    cluster.promise(workload, flavor, placement, [workload], Rule.BETTER_CARD, now)
    return [Evict(workload, workload, Rule.BETTER_CARD)]
