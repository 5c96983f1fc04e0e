"""Who gets what, as a pure function: a snapshot in, decisions out. No session, no clock, no settings.

The words are Kueue's. Workloads of one cluster queue go by priority and age; one that does not fit is stepped over and
keeps its reason (BestEffortFIFO), unless room is being made for it: then its node takes nobody of lower rank meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Reason(StrEnum):
    """Every "no", as people see it and programs match it."""

    NOT_CONSIDERED_YET = "NOT_CONSIDERED_YET"
    QUEUE_HELD = "QUEUE_HELD"
    BACKING_OFF = "BACKING_OFF"
    NO_READY_NODE = "NO_READY_NODE"
    WOULD_NEVER_FIT = "WOULD_NEVER_FIT"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    NO_FREE_CPU = "NO_FREE_CPU"
    NO_FREE_MEMORY = "NO_FREE_MEMORY"
    NO_FREE_GPU = "NO_FREE_GPU"
    RESERVED_FOR_HIGHER_PRIORITY = "RESERVED_FOR_HIGHER_PRIORITY"
    WAITING_FOR_PREEMPTION = "WAITING_FOR_PREEMPTION"
    PREEMPTED = "PREEMPTED"


@dataclass(frozen=True)
class Amount:
    """Thousandths of a core, bytes, whole cards."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    gpu: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu_milli + other.cpu_milli, self.memory_bytes + other.memory_bytes, self.gpu + other.gpu)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cpu_milli - other.cpu_milli, self.memory_bytes - other.memory_bytes, self.gpu - other.gpu)

    def fits_in(self, room: Amount) -> bool:
        return self.cpu_milli <= room.cpu_milli and self.memory_bytes <= room.memory_bytes and self.gpu <= room.gpu


@dataclass(frozen=True)
class Node:
    name: str
    flavor: str
    capacity: Amount
    ready: bool = True


@dataclass(frozen=True)
class ClusterQueue:
    """`nominal` by flavor; empty means all that the nodes have."""

    name: str
    nominal: Mapping[str, Amount] = field(default_factory=dict)


@dataclass(frozen=True)
class Queue:
    name: str
    cluster_queue: str
    priority: int = 0
    held: bool = False


@dataclass(frozen=True)
class Pending:
    """A workload that waits. `not_before` is the end of its back-off; `only_flavor` empty means any."""

    name: str
    queue: str
    requests: Amount
    queued_at: datetime
    priority: int = 0
    not_before: datetime | None = None
    only_flavor: str = ""

    def may_run_on(self, node: Node) -> bool:
        return node.ready and self.only_flavor in ("", node.flavor)


@dataclass(frozen=True)
class Holding:
    """A workload that holds its requests on a node, until its stop is confirmed."""

    name: str
    queue: str
    node: str
    flavor: str
    requests: Amount
    admitted_at: datetime
    priority: int = 0
    stopping: bool = False


@dataclass(frozen=True)
class Snapshot:
    now: datetime
    nodes: Sequence[Node]
    cluster_queues: Mapping[str, ClusterQueue]
    queues: Mapping[str, Queue]
    pending: Sequence[Pending]
    holding: Sequence[Holding]


@dataclass(frozen=True)
class Admit:
    workload: str
    node: str
    flavor: str


@dataclass(frozen=True)
class Preempt:
    workload: str
    in_favour_of: str


@dataclass(frozen=True)
class Wait:
    workload: str
    reason: Reason


Decision = Admit | Preempt | Wait


def schedule(snapshot: Snapshot) -> list[Decision]:
    """One cycle: a decision for every workload that waits, and for each that must give way."""
    waiting, decisions = _heads(snapshot)  # 1 heads
    room = Room(snapshot)
    for head in sorted(waiting, key=lambda each: _rank(snapshot, each)):  # 2 order
        node, reason = _nominate(snapshot, room, head)  # 3 nominate
        if node is not None:
            room.take(node, snapshot.queues[head.queue].cluster_queue, head.requests)  # 4 admit
            decisions.append(Admit(head.name, node.name, node.flavor))
            continue
        if reason in MAKES_ROOM:
            victims, node_name = _victims(snapshot, room, head)  # 5 preempt
            if node_name:
                room.reserve(node_name)
                reason = Reason.WAITING_FOR_PREEMPTION
                decisions += [Preempt(victim.name, head.name) for victim in victims]
        decisions.append(Wait(head.name, reason))  # 6 requeue
    return decisions


class Room:
    """What is left during one cycle: on each node, and of each quota."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.free = {node.name: node.capacity for node in snapshot.nodes}
        self.leaving = {node.name: Amount() for node in snapshot.nodes}
        self.used: dict[tuple[str, str], Amount] = {}
        self._reserved: set[str] = set()
        for held in snapshot.holding:
            self._hold(held.node, snapshot.queues[held.queue].cluster_queue, held.flavor, held.requests)
            if held.stopping and held.node in self.leaving:
                self.leaving[held.node] += held.requests

    def take(self, node: Node, cluster_queue: str, requests: Amount) -> None:
        self._hold(node.name, cluster_queue, node.flavor, requests)

    def reserve(self, node: str) -> None:
        """Nobody else is admitted to `node` in this cycle: what becomes free there is promised."""
        self._reserved.add(node)

    def is_reserved(self, node: str) -> bool:
        return node in self._reserved

    def _hold(self, node: str, cluster_queue: str, flavor: str, requests: Amount) -> None:
        if node in self.free:
            self.free[node] -= requests
        key = (cluster_queue, flavor)
        self.used[key] = self.used.get(key, Amount()) + requests


MAKES_ROOM = frozenset({Reason.QUOTA_EXHAUSTED, Reason.NO_FREE_CPU, Reason.NO_FREE_MEMORY, Reason.NO_FREE_GPU})


def _heads(snapshot: Snapshot) -> tuple[list[Pending], list[Decision]]:
    """Those that can be considered now, and a reason for each of the others."""
    heads: list[Pending] = []
    others: list[Decision] = []
    for each in snapshot.pending:
        if snapshot.queues[each.queue].held:
            others.append(Wait(each.name, Reason.QUEUE_HELD))
        elif each.not_before is not None and each.not_before > snapshot.now:
            others.append(Wait(each.name, Reason.BACKING_OFF))
        else:
            heads.append(each)
    return heads, others


def _rank(snapshot: Snapshot, each: Pending) -> tuple[int, datetime, str]:
    return -_priority(snapshot, each), each.queued_at, each.name


def _priority(snapshot: Snapshot, each: Pending | Holding) -> int:
    return each.priority + snapshot.queues[each.queue].priority


def _nominate(snapshot: Snapshot, room: Room, head: Pending) -> tuple[Node | None, Reason]:
    """The node for `head`: of those that fit one without idle cards first, then the fullest. Else the best reason."""
    ready = [node for node in snapshot.nodes if head.may_run_on(node)]
    if not ready:
        return None, Reason.NO_READY_NODE
    large_enough = [node for node in ready if head.requests.fits_in(node.capacity)]
    if not large_enough:
        return None, Reason.WOULD_NEVER_FIT
    queue = snapshot.cluster_queues[snapshot.queues[head.queue].cluster_queue]
    if not any(head.requests.fits_in(_nominal(queue, node)) for node in large_enough):
        return None, Reason.WOULD_NEVER_FIT
    within_quota = [node for node in large_enough if head.requests.fits_in(_quota_left(room, queue, node))]
    if not within_quota:
        return None, Reason.QUOTA_EXHAUSTED
    fitting = [node for node in within_quota if head.requests.fits_in(room.free[node.name])]
    open_ones = [node for node in fitting if not room.is_reserved(node.name)]
    if open_ones:
        best = min(open_ones, key=lambda node: (node.capacity.gpu > head.requests.gpu, room.free[node.name].cpu_milli))
        return best, Reason.NOT_CONSIDERED_YET
    if fitting:
        return None, Reason.RESERVED_FOR_HIGHER_PRIORITY
    return None, min((_shortage(head.requests, room.free[node.name]) for node in within_quota), key=_SHORTAGES.index)


_SHORTAGES = (Reason.NO_FREE_CPU, Reason.NO_FREE_MEMORY, Reason.NO_FREE_GPU)
UNLIMITED = Amount(2**31, 2**62, 2**31)


def _shortage(wanted: Amount, room: Amount) -> Reason:
    """What a node lacks; the scarcest kind first."""
    if wanted.gpu > room.gpu:
        return Reason.NO_FREE_GPU
    return Reason.NO_FREE_MEMORY if wanted.memory_bytes > room.memory_bytes else Reason.NO_FREE_CPU


def _nominal(queue: ClusterQueue, node: Node) -> Amount:
    """A queue with quotas gives nothing of a flavor that they do not name."""
    return queue.nominal.get(node.flavor, Amount()) if queue.nominal else UNLIMITED


def _quota_left(room: Room, queue: ClusterQueue, node: Node) -> Amount:
    return _nominal(queue, node) - room.used.get((queue.name, node.flavor), Amount())


def _victims(snapshot: Snapshot, room: Room, head: Pending) -> tuple[list[Holding], str]:
    """The fewest of lower priority in the same cluster queue whose leaving lets `head` in, and on which node.

    No victims but a node: enough is leaving already. ([], ""): nobody's leaving would help.
    """
    queue = snapshot.cluster_queues[snapshot.queues[head.queue].cluster_queue]
    for node in snapshot.nodes:
        if not head.may_run_on(node) or room.is_reserved(node.name) or not head.requests.fits_in(node.capacity):
            continue
        leaving = _amount(_of_queue(snapshot, queue, node, stopping=True))
        lacking_quota = _quota_left(room, queue, node) + leaving
        free = room.free[node.name] + room.leaving[node.name]
        lower = [
            held
            for held in _of_queue(snapshot, queue, node, stopping=False)
            if _priority(snapshot, held) < _priority(snapshot, head)
        ]
        lower.sort(key=lambda held: (_priority(snapshot, held), -held.admitted_at.timestamp()))
        chosen = _fewest(lower, head.requests, free, lacking_quota)
        if chosen is not None:
            return chosen, node.name
    return [], ""


def _fewest(lower: Sequence[Holding], wanted: Amount, free: Amount, quota: Amount) -> list[Holding] | None:
    """Takes from the lowest up until `wanted` fits, then gives back whom it did not need after all."""

    def enough(victims: Iterable[Holding]) -> bool:
        freed = _amount(victims)
        return wanted.fits_in(free + freed) and wanted.fits_in(quota + freed)

    chosen: list[Holding] = []
    for held in lower:
        if enough(chosen):
            break
        chosen.append(held)
    if not enough(chosen):
        return None
    for held in reversed(list(chosen)):
        rest = [each for each in chosen if each is not held]
        if enough(rest):
            chosen = rest
    return chosen


def _of_queue(snapshot: Snapshot, queue: ClusterQueue, node: Node, *, stopping: bool) -> list[Holding]:
    return [
        held
        for held in snapshot.holding
        if held.node == node.name
        and held.stopping is stopping
        and snapshot.queues[held.queue].cluster_queue == queue.name
    ]


def _amount(held: Iterable[Holding]) -> Amount:
    return sum((each.requests for each in held), Amount())
