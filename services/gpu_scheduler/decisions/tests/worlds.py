"""Random clusters, and what is true of them whatever the scheduler's books say: reckoned here a second time, from facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hypothesis import strategies as st

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.places import Node
from services.gpu_scheduler.decisions.policies.base import Speeds
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, Limit, Preemption
from services.gpu_scheduler.decisions.work import Placement, Workload

FLAVORS = ("a100", "h100")
COHORTS = ("c0", "c1", "c2")
T = TypeVar("T")
WAITING, HOLDING, LEAVING, HELD, ENDED = "WAITING", "HOLDING", "LEAVING", "HELD", "ENDED"


@dataclass
class Job:
    """A workload as its owner knows it. `leaves_for`: who gains by its going; empty: nobody. `cancelled`: it will not
    wait again. `spell`: how many times it began to wait. `ran`: as the scheduler reckons it."""

    name: str
    queue: str
    requests: Amount
    priority: int
    flavors: tuple[str, ...]
    preemptible: bool
    resumes: bool
    guaranteed: bool
    max_run: float
    queued_at: float
    state: str = WAITING
    flavor: str = ""
    placement: Placement = ()
    since: float = 0.0
    leaves_for: str = ""
    rule: str = ""
    cancelled: bool = False
    spell: int = 0
    serial: int = 0
    ran: float = 0.0
    preemptions: int = 0

    @property
    def holds(self) -> bool:
        return self.state in (HOLDING, LEAVING)

    def workload(self) -> Workload:
        return Workload(
            self.name, self.queue, self.requests, self.queued_at, self.serial, self.priority, self.flavors,
            preemptible=self.preemptible, resumes=self.resumes, guaranteed=self.guaranteed, ran=self.ran, max_run=self.max_run,
            preemptions=self.preemptions,
        )  # fmt: skip


@dataclass
class World:
    """`nodes` empty: quotas alone bound what runs."""

    queues: dict[str, ClusterQueue]
    cohorts: dict[str, Cohort]
    nodes: dict[str, Node]
    speeds: Speeds
    jobs: dict[str, Job] = field(default_factory=dict)

    def after(self, promises: Iterable[Promise]) -> World:
        """When all who leave have left, and those have what they were promised."""
        jobs = {job.name: job for job in self.jobs.values() if job.state == HOLDING}
        for each in promises:
            name = each.workload.name
            jobs[name] = replace(self.jobs[name], state=HOLDING, flavor=each.flavor, placement=each.placement)
        return replace(self, jobs=jobs)

    def has_room_for(self, job: Job) -> bool:
        """For what it holds here: quotas allow it, and the nodes have it."""
        try:
            self.check_nodes()
            self.check_whole(job)
        except AssertionError:
            return False
        return self.gives(job.queue, job.flavor) and self.is_within_quotas(job)

    def is_within_quotas(self, job: Job) -> bool:
        cells = [cell for cell in self.cells(job.queue) if cell[0] == job.flavor and job.requests[cell[1]]]
        return all(self.used(name, cell) <= self.most(name, cell) for name in self.path(job.queue) for cell in cells)

    def gives(self, queue: str, flavor: str) -> bool:
        """A tree with quotas gives the flavors that they name, one without gives all."""
        return not self.cells(queue) or any(cell[0] == flavor for cell in self.cells(queue))

    def holding(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.holds]

    # -- the tree, reckoned from what is held ------------------------------------------------------------------------

    def above(self, name: str) -> str:
        """The parent of a queue or cohort; empty: it has none."""
        return self.queues[name].cohort if name in self.queues else self._cohort(name).parent

    def path(self, name: str) -> list[str]:
        return [name, *(self.path(self.above(name)) if self.above(name) else [])]

    def limit(self, name: str, cell: Cell) -> Limit | None:
        return (self.queues[name] if name in self.queues else self._cohort(name)).limits.get(cell)

    def own(self, name: str, cell: Cell) -> int:
        limit = self.limit(name, cell)
        lent = sum(self.own(child, cell) - self.kept(child, cell) for child in self._children(name))
        return (limit.nominal if limit else 0) + lent

    def kept(self, name: str, cell: Cell) -> int:
        limit = self.limit(name, cell)
        return 0 if limit is None or limit.lending is None else max(0, self.own(name, cell) - limit.lending)

    def used(self, name: str, cell: Cell) -> int:
        """Really, by all that hold, also by those that are leaving."""
        if name in self.queues:
            held = [job for job in self.holding() if job.queue == name and job.flavor == cell[0]]
            return sum(job.requests[cell[1]] for job in held)
        return sum(max(0, self.used(child, cell) - self.kept(child, cell)) for child in self._children(name))

    def keeps_guaranteed(self, queue: str, gains: str) -> bool:
        """All that was guaranteed there before anybody was asked to go for `gains` is within what the queue has."""
        before = [job for job in self.jobs.values() if job.state == HOLDING or (job.holds and job.leaves_for == gains)]
        held = [job for job in before if job.queue == queue and job.guaranteed]
        cells = {(job.flavor, kind) for job in held for kind in range(3)} & self.cells(queue)
        used = {cell: sum(job.requests[cell[1]] for job in held if job.flavor == cell[0]) for cell in cells}
        return all(amount <= self.own(queue, cell) for cell, amount in used.items())

    def most(self, name: str, cell: Cell) -> float:
        """What may be used at most: of a root all that it has, else what it has and may borrow."""
        limit = self.limit(name, cell)
        if not self.above(name):
            return self.own(name, cell)
        return self.own(name, cell) + limit.borrowing if limit and limit.borrowing is not None else float("inf")

    def cells(self, queue: str) -> set[Cell]:
        """Those that the quotas of its tree name."""
        tree = self.same_tree(queue)
        return {cell for name in (*self.queues, *COHORTS) if name in tree for cell in self._limits(name)}

    def same_tree(self, queue: str) -> set[str]:
        root = self.path(queue)[-1]
        return {name for name in (*self.queues, *COHORTS) if self.path(name)[-1] == root}

    def usage(self) -> dict[tuple[str, Cell], int]:
        names = [(name, cell) for queue in self.queues for name in self.path(queue) for cell in self.cells(queue)]
        return {(name, cell): self.used(name, cell) for name, cell in names}

    def _cohort(self, name: str) -> Cohort:
        return self.cohorts.get(name, Cohort(name))

    def _limits(self, name: str) -> Mapping[Cell, Limit]:
        return (self.queues[name] if name in self.queues else self._cohort(name)).limits

    def _children(self, name: str) -> list[str]:
        return [each for each in (*self.queues, *COHORTS) if each != name and self.above(each) == name]

    # -- nodes -------------------------------------------------------------------------------------------------------

    def on(self, node: str) -> list[Job]:
        return [job for job in self.holding() if any(share.node == node for share in job.placement)]

    def check_nodes(self) -> None:
        """No card is given twice, nor more cores or memory than there are."""
        for node in self.nodes.values():
            shares = [share for job in self.holding() for share in job.placement if share.node == node.name]
            for kind in (0, 1):
                assert sum(share.amount[kind] for share in shares) <= node.capacity[kind], f"too much on {node.name}"
            held = Counter[int]()
            for share in shares:
                held.update(dict(share.cards))
            assert all(milli <= CARD for milli in held.values()), f"a card of {node.name} is given twice: {held}"

    def check_whole(self, job: Job) -> None:
        """All of what it asked for, on nodes of one flavor, on cards that are well; several nodes only for a gang."""
        if not self.nodes:
            return
        nodes = [self.nodes[share.node] for share in job.placement]
        assert all(node.ready and node.flavor == job.flavor for node in nodes)
        cards = [(share.node, index, milli) for share in job.placement for index, milli in share.cards]
        assert sum(milli for _, _, milli in cards) == job.requests.gpu_milli, "a gang is split"
        assert len({(node, index) for node, index, _ in cards}) == len(cards)
        assert not any(index in self.nodes[node].sick for node, index, _ in cards), "on a sick card"
        assert all(index < self.nodes[node].capacity.cards for node, index, _ in cards), "on a card that is not there"
        for kind in (0, 1):
            assert sum(share.amount[kind] for share in job.placement) >= job.requests[kind]
        assert len(nodes) == 1 or (len({node.gangs for node in nodes}) == 1 and nodes[0].gangs is not None)


# -- strategies ------------------------------------------------------------------------------------------------------

CPU, CARDS = (1, 500, 1000, 3000), (CARD, 2 * CARD, CARD, 500, 3 * CARD, 0, 600, 250, 6 * CARD)
ACCEPTED: tuple[tuple[str, ...], ...] = ((), ("a100",), (), ("h100", "a100"))
LONGEST = (0.0, 3600.0, 0.0, 60.0)
JOBS = st.integers(0, 4 * len(CPU) * len(CARDS) * 3 * len(ACCEPTED) * 4 * 4 * 4 * len(LONGEST) * 2 - 1)


def jobs_of(number: int, world: World, name: str, now: float) -> list[Job]:
    """One to four that are alike; one draw says all about them, so that a run has room for many."""

    def one_of(choices: Sequence[T]) -> T:
        nonlocal number
        number, index = divmod(number, len(choices))
        return choices[index]

    queue, cards, cpu, priority = one_of(sorted(world.queues)), one_of(CARDS), one_of(CPU), one_of((0, 1, 2))
    flavors, preemptible, count = one_of(ACCEPTED), one_of((True, True, True, False)), one_of((1, 2, 3, 4))
    resumes, max_run = one_of((True, True, True, False)), one_of(LONGEST)
    requests, guaranteed = Amount(cpu, 1, cards), not resumes and one_of((False, True))
    return [
        Job(f"{name}.{each}", queue, requests, priority, flavors, preemptible, resumes, guaranteed, max_run, now)
        for each in range(count)
    ]


@st.composite
def limits(draw: st.DrawFn, *, least: int = 0) -> dict[Cell, Limit]:
    found: dict[Cell, Limit] = {}
    named: tuple[str, ...] = draw(
        st.sampled_from([FLAVORS[:1], FLAVORS, FLAVORS[:1], () if not least else FLAVORS[1:]])
    )
    for flavor in named:
        for kind, scale in [(2, CARD)] + ([(0, CARD)] if draw(st.booleans()) else []):
            bound = st.none() | st.integers(0, 4).map(lambda count, scale=scale: count * scale)
            found[flavor, kind] = Limit(draw(st.integers(0, 5)) * scale, draw(bound), draw(bound))
    return found


PREEMPTIONS = st.builds(
    Preemption,
    st.sampled_from(["Never", "LowerPriority", "LowerOrNewerEqualPriority"]),
    st.sampled_from(["Never", "LowerPriority", "Any", "Any"]),
    st.sampled_from(["Never", "LowerPriority"]),
    st.sampled_from([None, 0, 1]),
)
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 3.0])


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    count = draw(st.integers(0, 4))
    links = tuple(index // 2 for index in range(count)) if draw(st.booleans()) else ()
    gangs = draw(st.sampled_from(["", "ray", None]))
    return Node(
        name, draw(st.sampled_from([*FLAVORS, FLAVORS[0]])), Amount(4000, 8, count * CARD), links=links, gangs=gangs
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    alone = draw(st.sampled_from([True, False, False]))
    least = 1 if alone else 0
    queues: Iterable[ClusterQueue] = [
        ClusterQueue(
            f"q{number}", draw(st.sampled_from(["c0", "c0", "c1", "c2", ""])), draw(limits(least=least)), draw(WEIGHTS),
            draw(st.sampled_from([False, False, True])), draw(PREEMPTIONS),
        ) for number in range(draw(st.sampled_from([3, 2, 4, 1])))
    ]  # fmt: skip
    cohorts = [
        Cohort(name, draw(st.sampled_from(["", *COHORTS[:number]])), draw(limits()), draw(WEIGHTS))
        for number, name in enumerate(COHORTS)
    ]
    there = [] if alone else [draw(nodes(f"n{number}")) for number in range(draw(st.integers(1, 4)))]
    speeds = Speeds(published={"h100": draw(st.sampled_from([1.0, 4.0, 0.5]))})
    return World(
        {each.name: each for each in queues}, {each.name: each for each in cohorts}, {n.name: n for n in there}, speeds
    )
