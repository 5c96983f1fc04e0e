"""A trace, replayed in simulated time through the cycle and the policies that the service runs.

Deterministic: the same trace, policy and options give the same outcomes. A policy never sees how long a job will take;
an oracle is told by `oracle`, and is called one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import CARD, CPU, GPU, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit
from services.gpu_scheduler.decisions.places import Node as Place
from services.gpu_scheduler.decisions.policies import named
from services.gpu_scheduler.decisions.policies.base import Policy, Speeds
from services.gpu_scheduler.decisions.policies.srtf import Oracle
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, Limit, Preemption
from services.gpu_scheduler.decisions.work import Workload
from services.gpu_scheduler.simulation.model import Job, Node, Options, Outcome, Quota, Replay, Sample, Span, Trace

UNBOUND = 1 << 60
EVERYBODY = "all"
NOWHERE = "none"  # a flavor that nobody has
RESOURCES = {"cpu": CPU, "gpu": GPU}
SUBMIT, END, LOOK = range(3)


def replay(trace: Trace, policy: str, options: Options | None = None) -> Replay:
    """Until every job has ended or nothing can happen any more. Raises: KeyError for a policy that is not there."""
    return replay_with(trace, named(policy), options or Options())


def replay_with(trace: Trace, policy: Policy, options: Options) -> Replay:
    """With a policy that is nobody else's: it learns on the way."""
    return _Replay(trace, policy, options).run()


class _Running:
    """One attempt of a job: `useful` seconds begin after what resuming cost."""

    __slots__ = ("began", "end", "flavor", "speed", "useful")

    def __init__(self, began: float, useful: float, end: float, flavor: str, speed: float) -> None:
        self.began, self.useful, self.end, self.flavor, self.speed = began, useful, end, flavor, speed


class _Replay:
    def __init__(self, trace: Trace, policy: Policy, options: Options) -> None:
        self.options = options
        self.policy = policy
        self.cluster = _cluster(trace, self.policy, options)
        self.outcomes = {job.id: Outcome(job) for job in trace.jobs}
        self.left = {job.id: job.duration for job in trace.jobs}
        if isinstance(self.policy, Oracle):
            self.policy.left = self.left
        self.running: dict[str, _Running] = {}
        self.events: list[tuple[float, int, int, str]] = []
        self.result = Replay(policy.name, list(self.outcomes.values()), _capacity(self.cluster))
        self.ended = 0
        self.looks_at = math.inf
        self.busy = 0
        self._tie = 0
        for job in trace.jobs:
            self._at(job.submit, SUBMIT, job.id)

    def run(self) -> Replay:
        while self.events:
            now = self.events[0][0]
            changed = False
            while self.events and self.events[0][0] <= now:
                changed |= self._happens(*heapq.heappop(self.events))
            if changed:
                self._decide(now)
            self._look_again(now)
        self.options.progress(self.ended, len(self.outcomes))
        return self.result

    # -- what happens ------------------------------------------------------------------------------------------------

    def _at(self, time: float, kind: int, job: str = "") -> None:
        self._tie += 1
        heapq.heappush(self.events, (time, kind, self._tie, job))

    def _happens(self, time: float, kind: int, _tie: int, name: str) -> bool:
        if kind == SUBMIT:
            return self._submit(self.outcomes[name])
        if kind == END:
            return self._end(time, name)
        self.looks_at = math.inf
        self.cluster.rank_again()
        return True

    def _submit(self, outcome: Outcome) -> bool:
        workload = _workload(outcome.job, self.cluster)
        outcome.refusal = _refusal(self.cluster, workload)
        if not outcome.refusal:
            self.cluster.submit(workload)
        return not outcome.refusal

    def _end(self, time: float, name: str) -> bool:
        running = self.running.get(name)
        if running is None or running.end != time:  # it was preempted meanwhile
            return False
        self._stopped(name, time)
        self.outcomes[name].end = time
        self.policy.ended(self.cluster.release(name, time), self.outcomes[name].job.duration)
        self.ended += 1
        if self.ended % 500 == 0:
            self.options.progress(self.ended, len(self.outcomes))
        return True

    def _stopped(self, name: str, time: float) -> None:
        running = self.running.pop(name)
        workload = self.cluster.holding[name]
        self.busy -= workload.requests.gpu_milli
        placement = workload.placement
        nodes = tuple(share.node for share in placement) if self.options.placement == "nodes" else ()
        self.outcomes[name].spans.append(Span(running.began, time, running.flavor, nodes))
        self.left[name] -= max(0.0, time - running.useful) * running.speed

    # -- what is decided ---------------------------------------------------------------------------------------------

    def _decide(self, now: float) -> None:
        """Cycles until one changes nothing; a stop takes no time here, what it costs is paid at the resumption."""
        while True:
            decisions = cycle.run(self.cluster, now)
            self.result.cycles += 1
            evicted = []
            for decision in decisions:
                if isinstance(decision, Admit):
                    self._start(decision, now)
                else:
                    evicted.append(decision.workload)
            for workload in evicted:
                self._preempt(workload, now)
            if not evicted:
                break
        self._sample(now)

    def _start(self, admitted: Admit, now: float) -> None:
        name = admitted.workload.name
        outcome = self.outcomes[name]
        self.busy += admitted.workload.requests.gpu_milli
        useful = now + (self.options.resume_cost if outcome.preemptions else 0.0)
        end = useful + self.left[name] / admitted.workload.speed
        self.running[name] = _Running(now, useful, end, admitted.flavor, admitted.workload.speed)
        self._at(end, END, name)

    def _preempt(self, workload: Workload, now: float) -> None:
        self._stopped(workload.name, now)
        if not self.options.checkpoints:
            self.left[workload.name] = self.outcomes[workload.name].job.duration
        self.outcomes[workload.name].preemptions += 1
        workload.preemptions += 1
        self.cluster.submit(self.cluster.release(workload.name, now))

    def _look_again(self, now: float) -> None:
        """While somebody waits for somebody to leave."""
        every = self.policy.looks_again
        if every and self.looks_at == math.inf and self.cluster.waiting and self.running:
            self.looks_at = (now // every + 1) * every
            self._at(self.looks_at, LOOK)

    def _sample(self, now: float) -> None:
        samples = self.result.samples
        if samples and now - samples[-1].time < self.options.sample_seconds:
            return
        busy = self.busy / CARD
        total = sum(self.result.capacity.values())
        samples.append(Sample(now, busy, total - busy, len(self.cluster.waiting)))


# -- from a trace to a cluster ---------------------------------------------------------------------------------------


def _cluster(trace: Trace, policy: Policy, options: Options) -> Cluster:
    queues, cohorts = _queues(trace, fair=policy.fair)
    nodes = None
    if trace.nodes:
        nodes = _merged(trace.nodes) if options.placement == "count" else [_place(node) for node in trace.nodes]
    return Cluster(policy, queues, cohorts, nodes, Speeds(trace.speeds.known))


def _queues(trace: Trace, *, fair: bool) -> tuple[dict[str, ClusterQueue], dict[str, Cohort]]:
    """Without quotas there is one queue; where queues share fairly, they share all that the nodes have."""
    if trace.quotas:
        return _given(trace.quotas), {}
    if not fair:
        return {EVERYBODY: ClusterQueue(EVERYBODY)}, {}
    totals: dict[Cell, Limit] = {}
    for node in trace.nodes:
        before = totals.get((node.flavor, GPU), Limit(0)).nominal
        totals[node.flavor, GPU] = Limit(before + node.gpus * CARD)
    names = sorted({job.queue or EVERYBODY for job in trace.jobs})
    return {name: ClusterQueue(name, "cluster") for name in names}, {"cluster": Cohort("cluster", "", totals)}


def _given(quotas: Iterable[Quota]) -> dict[str, ClusterQueue]:
    limits: dict[str, dict[Cell, Limit]] = {}
    first: dict[str, Quota] = {}
    for quota in quotas:
        scale = CARD  # cores and cards are both counted in thousandths
        bounds = [
            None if each is None else round(each * scale) for each in (quota.borrowing_limit, quota.lending_limit)
        ]
        limit = Limit(round(quota.nominal * scale), *bounds)
        limits.setdefault(quota.queue, {})[quota.flavor, RESOURCES[quota.resource]] = limit
        first.setdefault(quota.queue, quota)
    return {
        name: ClusterQueue(
            name,
            quota.cohort,
            limits[name],
            strict=quota.queueing_strategy == "StrictFIFO",
            preemption=Preemption(quota.within_cluster_queue, quota.reclaim_within_cohort),
        )
        for name, quota in first.items()
    }


def _place(node: Node) -> Place:
    return Place(
        node.id, node.flavor, Amount(node.cpu_milli or UNBOUND, node.memory_bytes or UNBOUND, node.gpus * CARD)
    )


def _merged(nodes: Iterable[Node]) -> list[Place]:
    """One node a flavor: only how many cards there are counts."""
    cards: dict[str, int] = {}
    for node in nodes:
        cards[node.flavor] = cards.get(node.flavor, 0) + node.gpus
    return [Place(flavor, flavor, Amount(UNBOUND, UNBOUND, count * CARD)) for flavor, count in cards.items()]


def _workload(job: Job, cluster: Cluster) -> Workload:
    milli = job.gpus * CARD if job.gpu_milli >= CARD else job.gpu_milli * job.gpus
    queue = job.queue if job.queue in cluster.lines else EVERYBODY
    return Workload(
        job.id,
        queue,
        Amount(job.cpu_milli, 0, milli),
        job.submit,
        priority=job.priority,
        flavors=_usable(job, cluster, queue),
        kind=job.model_type,
        user=job.user,
    )


def _usable(job: Job, cluster: Cluster, queue: str) -> tuple[str, ...]:
    """Those that it accepts, without those on which it is known not to run; empty: any."""
    speeds = cluster.speeds.known.get((job.model_type, job.gpus), {})
    if all(speeds.values()) or queue not in cluster.lines:
        return job.flavors
    usable = [flavor for flavor in job.flavors or cluster.lines[queue].given if speeds.get(flavor, 1.0) > 0]
    return tuple(usable) or (NOWHERE,)


def _refusal(cluster: Cluster, workload: Workload) -> str:
    """Why it could not run in an empty cluster; empty: it could."""
    if workload.queue not in cluster.lines:
        return "UNKNOWN_QUEUE"
    flavors = list(cluster.flavors(workload))
    if not flavors:
        return "NO_FLAVOR"
    if cluster.places is not None:
        pools = cluster.places.pools
        flavors = [flavor for flavor in flavors if pools[flavor].could_ever(workload.requests)]
        if not flavors:
            return "FITS_NO_NODE"
    quota = cluster.lines[workload.queue].quota
    for flavor in flavors:
        if all(
            quota.available(cell, unused=True) >= amount for cell, amount in cluster.cells(workload, flavor).items()
        ):
            return ""
    return "OVER_QUOTA"


def _capacity(cluster: Cluster) -> Mapping[str, float]:
    if cluster.places is not None:
        pools = cluster.places.pools.items()
        return {flavor: float(sum(room.size for room in pool.rooms.values())) for flavor, pool in pools}
    totals: dict[str, float] = {}
    for root in {id(line.quota.root()): line.quota.root() for line in cluster.lines.values()}.values():
        for (flavor, _), amount in root.subtree.items():
            totals[flavor] = totals.get(flavor, 0.0) + amount / CARD
    return totals
