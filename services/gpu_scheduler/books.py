"""The cluster as this process knows it, brought up to date from the tables at the beginning of each cycle.

What changed is found by the transaction that changed it, so a cycle costs what has changed, not what is there. Nothing
here is the truth: the tables are. Whoever fails to write down what was decided throws the books away.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gyre_kit.db import Session

from services.gpu_scheduler import budgets, placements, store, store_nodes, store_queues, throughput
from services.gpu_scheduler.decisions.amounts import CARD, NAMES, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.line import Shape
from services.gpu_scheduler.decisions.places import Node as Place
from services.gpu_scheduler.decisions.policies import named
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, Limit, Preemption
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.decisions.work import Placement, Share, Workload
from services.gpu_scheduler.launchers.base import LOCAL
from services.gpu_scheduler.models import HOLDING, Card, Node, NodeState, Queue, QueueState, StopReason, WorkloadState

LOOK_AROUND_SECONDS = 60.0  # between two looks at what was measured and what was spent
LONGEST_REST = 60.0
LONGEST_SILENCE = 1.0  # seconds for which cycles that have much to decide put off saying why others wait
LEARNT_FROM = 500  # past ends, from which a policy that begins anew learns how long work takes
READ_AT_ONCE = 5_000  # workloads that wait
BOOKS = "books"  # where the context keeps those of this process
Row = Any  # of store.looked_at


class Books:
    """`cards`: (node, index) → (name of the card's row, uuid). `aside`: those that wait but are not to be considered.
    `written`: the reasons that the table is known to have.
    `broken`: those whose promise did not hold any more when the books were last read anew.

    `longest_rest`: seconds for which a back-off lasts at most, also where the clock was put back meanwhile.
    """

    def __init__(self, policy: str, longest_rest: float = LONGEST_REST) -> None:
        self.policy = policy
        self.longest_rest = longest_rest
        self.cluster: Cluster | None = None
        self.queues: dict[str, Queue] = {}
        self.cards: dict[tuple[str, int], tuple[str, str]] = {}
        self.aside: dict[str, Reason] = {}
        self.attempts: dict[str, int] = {}
        self.broken: list[str] = []
        self.written: dict[str, str] = {}
        self._to_explain: dict[str, set[Shape]] = {}  # queues whose reasons are to be looked at
        self._explained_at = 0.0
        self._later: list[tuple[float, str]] = []  # ends of back-offs
        self._looked_around_at = self._ranked_at = 0.0
        self._over_budget: frozenset[str] = frozenset()
        self._resting: dict[str, tuple[float, Workload]] = {}  # each with the end of its back-off
        self._topology = 0
        self._seen = 0
        self._looked_at = 0.0

    def throw_away(self) -> None:
        """They are read anew for the next cycle."""
        self.cluster = None

    async def refresh(self, session: Session) -> Cluster:
        """Under the lock of a cycle."""
        now = session.clock.now().timestamp()
        topology, oldest = await store.versions(session)
        self.broken = []
        if self.cluster is not None and not 0 <= now - self._looked_around_at < LOOK_AROUND_SECONDS:
            await self._look_around(session, now)
        if topology != self._topology:
            self.throw_away()
        if self.cluster is None or not await self._catch_up(session, now):
            self.cluster = await self._read_all(session, now)
        self._topology, self._seen = topology, oldest
        self._bring_back(now)
        every = self.cluster.policy.looks_again
        if every and not 0 <= now - self._ranked_at < every:
            self.cluster.rank_again()
            self._ranked_at = now
        return self.cluster

    # -- why others wait ---------------------------------------------------------------------------------------------

    def to_explain(self, queues: Iterable[str]) -> None:
        """Those are looked at now; whoever still waits in them afterwards is to be told why."""
        for name in queues:
            self._to_explain.setdefault(name, set()).update(self.known.lines[name].heaps)

    def is_silent(self, now: float) -> bool:
        return not 0 <= now - self._explained_at < LONGEST_SILENCE

    def explained(self, now: float) -> dict[str, set[Shape]]:
        """Queue → shapes that are to be told why they wait; they are told by that."""
        told, self._to_explain, self._explained_at = self._to_explain, {}, now
        return told

    # -- everything --------------------------------------------------------------------------------------------------

    async def _read_all(self, session: Session, now: float) -> Cluster:
        nodes, cards = await store_nodes.nodes(session), await store_nodes.cards(session)
        self.queues = {row.name: row for row in await store_queues.queues(session)}
        self._over_budget, self._looked_around_at = await budgets.exhausted(session, self.queues.values()), now
        present = sorted(cards, key=lambda card: card.present)
        self.cards = {(row.node, row.index): (row.name, row.uuid) for row in present}
        self.aside, self.attempts, self.written, self._later, self._resting = {}, {}, {}, [], {}
        self._to_explain = {}
        queues = {row.name: _queue(row) for row in await store_queues.cluster_queues(session)}
        cohorts = {
            row.name: Cohort(row.name, row.parent, _limits(row.quotas), row.weight)
            for row in await store_queues.cohorts(session)
        }
        self.cluster = Cluster(named(self.policy), queues, cohorts, _places(nodes, cards))
        self.cluster.speeds = throughput.speeds(await store.throughputs(session), cards, self._flavor_of(nodes))
        for row in await store.last_ended(session, LEARNT_FROM):
            self._learn(row)
        rows = await store.looked_at(session)
        holding = [row for row in rows if row.state in HOLDING]
        placed = await self._placed(session, holding)
        for row in holding:
            self._hold(row, placed[row.name])
        waiting = [row for row in rows if row.state == WorkloadState.QUEUED]
        for start in range(0, len(waiting), READ_AT_ONCE):
            await store.say_something(session)  # 100,000 take longer than one that reads them may be silent
            for row in waiting[start : start + READ_AT_ONCE]:
                self._wait(row, now)
        self._keep_promises(rows, now)
        return self.cluster

    async def _look_around(self, session: Session, now: float) -> None:
        """What no change of a row tells: speeds that were measured, and budgets that are used up or begin anew."""
        nodes = await store_nodes.nodes(session)
        measured, cards = await store.throughputs(session), await store_nodes.cards(session)
        self.known.speeds = throughput.speeds(measured, cards, self._flavor_of(nodes))
        self._looked_around_at = now
        if await budgets.exhausted(session, self.queues.values()) != self._over_budget:
            self.throw_away()

    @staticmethod
    def _flavor_of(nodes: Sequence[Node]) -> dict[str, str]:
        return {node.name: node.flavor for node in nodes}

    def _keep_promises(self, rows: Sequence[Row], now: float) -> None:
        """Those that were asked to leave for somebody still leave for them, if what was promised is still there to give."""
        cluster, promised = self.known, [row for row in rows if row.promised]
        leaving: dict[str, dict[str, Workload]] = {row.name: {} for row in promised}
        for row in rows:
            if row.state == WorkloadState.STOPPING and row.preempted_for in leaving:
                leaving[row.preempted_for][row.name] = cluster.holding[row.name]
        waiting = [row for row in promised if row.name in cluster.waiting or row.name in leaving[row.name]]
        broken = cluster.keep([_promise(cluster, row, leaving[row.name], now) for row in waiting])
        self.broken = [row.name for row in promised if row.state == WorkloadState.QUEUED and row not in waiting]
        self.broken += [promise.workload.name for promise in broken]

    # -- what changed ------------------------------------------------------------------------------------------------

    async def _catch_up(self, session: Session, now: float) -> bool:
        """False where all has to be read. Placements are fetched only of what another process admitted."""
        rows = await store.changed_since(session, self._seen)
        placed = await self._placed(session, [row for row in rows if self._is_news(row)])
        return self._apply(rows, placed, now)

    def _is_news(self, row: Row) -> bool:
        """It holds by an attempt that is not in the books."""
        known = row.name in self.known.holding and self.attempts.get(row.name) == row.attempt
        return row.state in HOLDING and not known

    @staticmethod
    async def _placed(session: Session, rows: Sequence[Row]) -> Mapping[str, Row]:
        if not rows:
            return {}
        return await store.placed(session, [store.attempt_name(row.name, row.attempt) for row in rows])

    def _apply(self, rows: Sequence[Row], placed: Mapping[str, Row], now: float) -> bool:
        """False where all has to be read: another process has promised something meanwhile."""
        cluster = self.known
        for row in rows:
            held = cluster.holding.get(row.name)
            if held is not None and held.guaranteed != row.guaranteed:
                held.guaranteed = row.guaranteed
                cluster.open_all()  # who was passed over may go now
            if row.state == WorkloadState.STOPPING and row.stop_reason == StopReason.PREEMPTION:
                if held is None or not held.leaving:
                    return False
            elif row.state in HOLDING:
                if self._is_news(row):
                    self._leave(row.name, now)
                    self._hold(row, placed[row.name])
                elif row.state == WorkloadState.STOPPING:
                    cluster.leaves(row.name)
            elif row.state == WorkloadState.QUEUED:
                if held is not None or self._differs(row):
                    self._leave(row.name, now)
                    self._wait(row, now)
                if bool(row.promised) != (row.name in cluster.promises):
                    return False
            else:
                if held is not None and row.state == WorkloadState.FINISHED:
                    self._learn(row)
                self._leave(row.name, now)
        return True

    def _learn(self, row: Row) -> None:
        """How long such work takes."""
        if row.queue in self.queues:
            self.known.policy.ended(self._workload(row), row.ran_seconds)

    def _differs(self, row: Row) -> bool:
        """From how it is known; one that still waits as it did keeps its place, and what it was promised."""
        if row.name in self._resting:
            known = self._resting[row.name][1]
            if row.not_before is None or row.not_before.timestamp() != known.not_before:
                return True
        elif entry := self.known.waiting.get(row.name):
            known = entry[2]
        else:
            return True
        return row.held or (self._priority(row), row.ran_seconds, row.guaranteed) != (
            known.priority,
            known.ran,
            known.guaranteed,
        )

    def _leave(self, name: str, now: float) -> None:
        cluster = self.known
        self.aside.pop(name, None)
        self.written.pop(name, None)
        self._resting.pop(name, None)
        if name in cluster.waiting:
            cluster.withdraw(name)
        if name in cluster.holding:
            cluster.release(name, now)
            self.attempts.pop(name, None)

    def _hold(self, row: Row, placed: Row) -> None:
        placement = placements.from_json(placed.placement) if placed.placement else self._old_placement(row, placed)
        since = (row.admit_time or row.queue_time).timestamp()
        self.attempts[row.name] = row.attempt
        self.known.restore(self._workload(row), row.flavor, placement, since)
        if row.state == WorkloadState.STOPPING:
            self.known.leaves(row.name)

    def _old_placement(self, row: Row, placed: Row) -> Placement:
        """Of an attempt from before placements were written down."""
        indexes = [
            index for (node, index), (_, uuid) in self.cards.items() if node == row.node and uuid in placed.card_uuids
        ]
        return (Share(row.node, _amount(row), tuple((index, CARD) for index in indexes)),)

    def _wait(self, row: Row, now: float) -> None:
        if row.held:
            self.aside[row.name] = Reason.WORKLOAD_HELD
        elif self.queues[row.queue].state == QueueState.HELD:
            self.aside[row.name] = Reason.QUEUE_HELD
        elif row.queue in self._over_budget:
            self.aside[row.name] = Reason.BUDGET_EXHAUSTED
        elif row.not_before is not None and row.not_before.timestamp() > now:
            self.aside[row.name] = Reason.BACKING_OFF
            end = min(row.not_before.timestamp(), now + self.longest_rest)
            self._resting[row.name] = end, self._workload(row)
            heapq.heappush(self._later, (end, row.name))
        else:
            self.known.submit(self._workload(row))

    def _bring_back(self, now: float) -> None:
        """Those whose back-off is over. Where the clock was put back, it is over when its longest time is."""
        if now < self._looked_at:
            latest = now + self.longest_rest
            self._resting = {name: (min(end, latest), rests) for name, (end, rests) in self._resting.items()}
            self._later = [(end, name) for name, (end, _) in self._resting.items()]
            heapq.heapify(self._later)
        self._looked_at = now
        while self._later and self._later[0][0] <= now:
            _, name = heapq.heappop(self._later)
            end, resting = self._resting.get(name, (float("inf"), None))  # None: it was cancelled meanwhile
            if resting is not None and end <= now:
                del self._resting[name], self.aside[name]
                self.known.submit(resting)

    # -- rows as the decisions see them ------------------------------------------------------------------------------

    @property
    def known(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    def _priority(self, row: Row) -> int:
        return int(row.priority + self.queues[row.queue].priority)

    def _workload(self, row: Row) -> Workload:
        return Workload(
            row.name,
            self.queues[row.queue].cluster_queue,
            _amount(row),
            row.queue_time.timestamp(),
            priority=self._priority(row),
            flavors=(row.only_flavor,) if row.only_flavor else (),
            kind=row.throughput_class,
            user=row.queue,
            resumes=row.kind == "TRAINER",
            serves=row.kind == "REPLICA",
            guaranteed=row.guaranteed,
            ran=row.ran_seconds,
            not_before=row.not_before.timestamp() if row.not_before else 0.0,
            max_run=row.max_run_seconds,
            preemptions=row.preemptions,
        )


def _promise(cluster: Cluster, row: Row, leaving: dict[str, Workload], now: float) -> Promise:
    placement = placements.from_json(row.promised["placement"])
    waits, rule = cluster.waiting.get(row.name), row.promised["rule"]
    workload = waits[2] if waits is not None else cluster.holding[row.name]  # which is to go on elsewhere
    return Promise(workload, row.promised["flavor"], placement, {}, leaving, rule, now)


def _amount(row: Row) -> Amount:
    return Amount(row.cpu_milli, row.memory_bytes, row.gpu * CARD + row.gpu_milli)


def _queue(row: Any) -> ClusterQueue:
    return ClusterQueue(row.name, row.cohort, _limits(row.quotas), row.weight, row.strict, Preemption(**row.preemption))


def _limits(quotas: Mapping[str, Mapping[str, Any]]) -> dict[Cell, Limit]:
    """Cards are counted in thousandths, as in Amount."""
    limits = {}
    for flavor, given in quotas.items():
        borrowing, lending = given.get("borrowing") or {}, given.get("lending") or {}
        for kind, (name, scale) in enumerate(zip(FIELDS, SCALES, strict=True)):
            bounds = [None if bound.get(name) is None else bound[name] * scale for bound in (borrowing, lending)]
            limits[flavor, kind] = Limit(given.get(name, 0) * scale, *bounds)
    return limits


FIELDS, SCALES = ("cpu_milli", "memory_bytes", "gpu"), (1, 1, CARD)
assert len(FIELDS) == len(NAMES)


def _places(nodes: Sequence[Node], cards: Sequence[Card]) -> list[Place]:
    """A card that is not there, or that is sick, is one that nobody gets."""
    by_node: dict[str, dict[int, Card]] = {}
    for card in sorted(cards, key=lambda card: card.present):  # of several that sat in one place, the one that does
        by_node.setdefault(card.node, {})[card.index] = card
    return [_place(node, by_node.get(node.name, {})) for node in nodes]


def _place(node: Node, cards: Mapping[int, Card]) -> Place:
    slots = max(cards, default=-1) + 1
    out = frozenset(
        index for index in range(slots) if index not in cards or not cards[index].present or cards[index].fault_code
    )
    capacity = Amount(node.cpu_milli, node.memory_bytes, slots * CARD)
    links = tuple(cards[index].link_group if index in cards else 0 for index in range(slots))
    gangs = None if node.launcher == LOCAL else node.launcher  # a gang is started by one launcher, and not by ours
    is_ready = node.state == NodeState.READY
    return Place(node.name, node.flavor, capacity, is_ready, links if any(links) else (), out, gangs)
