"""One cycle: heads → order → nominate → admit, or make room → the rest waits. The books change as it decides."""

from __future__ import annotations

from dataclasses import dataclass

from services.gpu_scheduler.decisions import preemption
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.contest import Contest
from services.gpu_scheduler.decisions.reasons import Reason, Rule, Why
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


def run(cluster: Cluster, now: float) -> list[Decision]:
    """Decides about everything of which the answer may have changed since the last cycle."""
    decisions: list[Decision] = []
    for promise in list(cluster.fulfilled()):  # 1 who left, left for somebody
        cluster.admit(promise.workload, promise.flavor, promise.placement, now)
        decisions.append(Admit(promise.workload, promise.flavor, promise.placement))
    contest = Contest(cluster)  # 2 heads
    while (candidate := contest.next()) is not None:  # 3 order
        line, shape, (rank, _, workload) = candidate
        admitted, why = _nominate(cluster, workload, now)  # 4 nominate
        if admitted is not None:
            cluster.admit(workload, admitted.flavor, admitted.placement, now)  # 5 admit
            decisions.append(admitted)
            contest.served(line, shape)
            continue
        made = _make_room(cluster, workload, now)  # 6 or make room
        decisions += made
        if made:
            contest.served(line, shape)
            continue
        line.parked[shape] = rank  # 7 or wait
        cluster.why[line.queue.name, shape] = why
        contest.failed(line)
    return decisions


def _nominate(cluster: Cluster, workload: Workload, now: float) -> tuple[Admit | None, Why]:
    """The first flavor on which it fits, by quota and on nodes; else what was missing on the one that came closest."""
    why = Why(Reason.NO_READY_NODE)
    for flavor in cluster.policy.flavors(cluster, workload, now):
        if not cluster.tree.fits(workload.queue, cluster.cells(workload, flavor)):
            why = Why(Reason.QUOTA_EXHAUSTED, flavor)
            continue
        placement = cluster.place(workload, flavor)
        if placement is not None:
            return Admit(workload, flavor, placement), why
        why = Why(Reason.NO_FREE_GPU if workload.requests.gpu_milli else Reason.NO_FREE_CPU, flavor)
    return None, why


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
