"""Why something waits, in a sentence, and when it may start at the earliest. Found out when somebody asks."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.gpu_scheduler.decisions import preemption, shortage
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.line import Entry
from services.gpu_scheduler.decisions.places import Pool
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.decisions.work import Workload

GIB = 1024**3
NAMED_ENDS = 3  # of those that have to end first; of the others it is told how many there are
Called = Callable[[str], str]  # what to call a workload; empty where it may not be named


@dataclass(frozen=True, slots=True)
class Step:
    """Cards that come free at a time: because a workload reaches its longest run, or, `guessed`, because that is how long
    the policy has seen such work take."""

    time: float
    workload: str
    cards: float
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """`position` counts from 1 in its cluster queue. `earliest` None: nothing that it needs has an end that is known or
    can be guessed.

    `free`: whole cards of the flavor that are free, `most`: on one node. `ends`: what has to end first, in order.
    `guaranteed`: how many may not be asked to go for it because they are guaranteed.
    """

    reason: Reason
    flavor: str
    position: int
    free: int = 0
    most: int = 0
    earliest: float | None = None
    ends: tuple[Step, ...] = ()
    guaranteed: int = 0

    @property
    def is_estimate(self) -> bool:
        return any(step.guessed for step in self.ends)


def explain(cluster: Cluster, name: str, now: float) -> Explanation:
    """Raises: KeyError for one that does not wait."""
    entry = cluster.waiting[name]
    workload = entry[2]
    why = shortage.why(cluster, workload)
    position = _position(cluster, entry)
    pool = cluster.places.pools.get(why.flavor) if cluster.places is not None else None
    is_short = why.reason in FREED_BY_ENDS or why.reason is Reason.QUOTA_EXHAUSTED
    guaranteed = len(preemption.passed_over(cluster, workload, why.flavor, now)) if is_short else 0
    if pool is None or why.reason not in FREED_BY_ENDS:
        return Explanation(why.reason, why.flavor, position, guaranteed=guaranteed)
    ends = _ends_that_help(cluster, workload, why.flavor, pool, now)
    earliest = ends[-1].time if ends else None
    most = max((whole for whole, rooms in enumerate(pool.buckets) if rooms), default=0)
    return Explanation(why.reason, why.flavor, position, pool.free_cards, most, earliest, ends, guaranteed)


FREED_BY_ENDS = frozenset(
    {Reason.NO_FREE_CPU, Reason.NO_FREE_MEMORY, Reason.NO_FREE_GPU, Reason.RESERVED_FOR_HIGHER_PRIORITY}
)


def _position(cluster: Cluster, mine: Entry) -> int:
    """From 1. The heaps of its queue still hold some that do not wait any more, and none that was promised its place."""
    queue, waiting, promises = mine[2].queue, cluster.waiting, cluster.promises
    ahead = [
        entry[2].name
        for heap in cluster.lines[queue].heaps.values()
        for entry in heap
        if entry < mine and waiting.get(entry[2].name) is entry
    ]
    promised = [name for name, each in promises.items() if each.workload.queue == queue and name in waiting]
    return 1 + sum(name not in promises for name in ahead) + sum(waiting[name] < mine for name in promised)


def _ends_that_help(cluster: Cluster, workload: Workload, flavor: str, pool: Pool, now: float) -> tuple[Step, ...]:
    """The ends that are known or guessed, in order, up to the one after which it fits; empty where they do not suffice."""
    steps: list[Step] = []
    given: list[Workload] = []
    fits = pool.place(workload.requests) is not None
    for time, each in _ends(cluster, flavor, now):
        cluster.take_out(each)
        given.append(each)
        steps.append(Step(time, each.name, each.requests.gpu_milli / CARD, guessed=not each.max_run))
        fits = fits or (pool.may_fit(workload.requests, each.placement) and pool.place(workload.requests) is not None)
        if fits:
            break
    for each in given:
        cluster.put_back(each)
    return tuple(steps) if fits and steps else ()


def _ends(cluster: Cluster, flavor: str, now: float) -> Iterator[tuple[float, Workload]]:
    """Those of `flavor` whose end is known or guessed, the first to end first; as many are sorted as are asked for."""
    held = [each for each in cluster.holding.values() if each.flavor == flavor and not each.leaving]
    ends = [(now + max(0.0, cluster.policy.expects(each, now, each.speed)), each.serial, each) for each in held]
    known = [end for end in ends if math.isfinite(end[0])]
    heapq.heapify(known)
    while known:
        time, _, each = heapq.heappop(known)
        yield time, each


def sentence(found: Explanation, workload: Workload, called: Called, clock: Callable[[float], str]) -> str:
    """For people; programs read the reason."""
    return f"{_why(found, workload, called, clock)}{_passed_over(found.guaranteed)}"


def _why(found: Explanation, workload: Workload, called: Called, clock: Callable[[float], str]) -> str:
    flavor = found.flavor.rpartition("/")[2] or "any flavor"
    wanted = needs(workload.requests, flavor)
    position = f"position {found.position} in {workload.queue.rpartition('/')[2]}"
    match found.reason:
        case Reason.NOT_CONSIDERED_YET:
            return f"It has just been queued: {position}."
        case Reason.WAITING_FOR_PREEMPTION:
            return f"{wanted}; others were asked to make room for it and are stopping."
        case Reason.NO_READY_NODE:
            return f"{wanted}; no node that it may use is ready. {position.capitalize()}."
        case Reason.WOULD_NEVER_FIT:
            return f"{wanted}; that is more than any node has, or than its queue may ever use. Ask for less."
        case Reason.QUOTA_EXHAUSTED:
            return f"{wanted}; its queue has used up what it may use of {flavor}. {position.capitalize()}."
        case Reason.RESERVED_FOR_HIGHER_PRIORITY:
            return f"{wanted}; what is free is promised to another. {position.capitalize()}."
        case _:
            return f"{wanted}; {_free(found, workload)}{_first_ends(found, called, clock)}; {position}."


def _passed_over(guaranteed: int) -> str:
    if not guaranteed:
        return ""
    are = "1 replica is" if guaranteed == 1 else f"{guaranteed} replicas are"
    return f" {are} guaranteed to a deployment and not asked to make room."


def needs(requests: Amount, flavor: str) -> str:
    if requests.gpu_milli >= CARD:
        return f"Needs {requests.cards} × {flavor}" + (" on one node" if requests.cards > 1 else "")
    if requests.gpu_milli:
        return f"Needs {requests.gpu_milli / CARD:.0%} of a card of {flavor}"
    return f"Needs {requests.cpu_milli / 1000:g} cores and {requests.memory_bytes / GIB:.3g} GiB of {flavor}"


def _free(found: Explanation, workload: Workload) -> str:
    if found.reason is Reason.NO_FREE_CPU:
        return "there are not enough cores free"
    if found.reason is Reason.NO_FREE_MEMORY:
        return "there is not enough memory free"
    if workload.requests.gpu_milli < CARD:
        return "no card has so much left"
    return f"{found.free} free, at most {found.most} on one node"


def _first_ends(found: Explanation, called: Called, clock: Callable[[float], str]) -> str:
    if not found.ends:
        return ""
    steps = []
    for step in found.ends[:NAMED_ENDS]:
        who = called(step.workload) or "another workload"
        what = f"{step.cards:g} free" if step.cards else "room"
        when = "by estimate" if step.guessed else "at the latest"
        steps.append(f"{what} at {clock(step.time)} {when}, when {who} ends")
    more = f" and {len(found.ends) - NAMED_ENDS} more" if len(found.ends) > NAMED_ENDS else ""
    return ", " + ", ".join(steps) + more
