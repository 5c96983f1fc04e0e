"""Who has to go so that a workload fits: as few as possible, and nobody in vain.

By priority within a queue; across a cohort a queue takes back what it lent (reclaim), or, where queues share fairly, what
brings their shares closer (Kueue: LessThanOrEqualToFinalShare, then LessThanInitialShare); and by the policy's own rule.
What is guaranteed stays: it goes for higher priority in its own queue alone, and, beyond what is that queue's own, for
whoever takes back what is theirs.
Nothing is decided here: everything that was taken out of the books to see what would fit is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.quotas import Cell, Preemption, Quota
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Placement, Workload

Victims = dict[str, tuple[Workload, Rule]]


@dataclass(frozen=True, slots=True)
class Found:
    placement: Placement
    victims: list[tuple[Workload, Rule]]


def find(cluster: Cluster, workload: Workload, flavor: str, now: float) -> Found | None:
    """The books are as before when it returns."""
    search = _Search(cluster, workload, flavor, now)
    try:
        if search.run():
            return search.found()
        return None
    finally:
        search.undo()


def passed_over(cluster: Cluster, workload: Workload, flavor: str, now: float) -> list[Workload]:
    """Those that may not be asked to go for it because they are guaranteed; none where others suffice. The books are as
    before when it returns."""
    search = _Search(cluster, workload, flavor, now)
    try:
        return [] if search.by_quotas() else list(search.passed_over.values())
    finally:
        search.undo()


class _Search:
    def __init__(self, cluster: Cluster, workload: Workload, flavor: str, now: float) -> None:
        self.cluster, self.workload, self.flavor, self.now = cluster, workload, flavor, now
        self.line = cluster.lines[workload.queue]
        self.mine = self.line.quota
        self.cells = cluster.cells(workload, flavor)
        self.out: Victims = {}
        self.passed_over: dict[str, Workload] = {}
        self.placement: Placement | None = None
        # Those who leave for others leave anyway: nobody else need go for what they hold beyond what is promised.
        self.surplus = [each for promise in cluster.promises.values() for each in promise.surplus]
        for queue, cells in self.surplus:
            cluster.tree.remove(queue, cells)
        cluster.tree.add(workload.queue, self.cells)  # as if it were admitted

    def run(self) -> bool:
        """Takes out one after the other until it fits, then puts back whom it did not need after all."""
        return self.by_quotas() or self._first_of(self._by_policy)

    def by_quotas(self) -> bool:
        cross = self._by_share if self.cluster.policy.fair else self._by_reclaim
        return self._first_of(self._within_queue_first, cross)

    def _first_of(self, *ways: Callable[[], bool]) -> bool:
        for take in ways:
            if take():
                self._give_back_needless()
                return True
        return False

    def found(self) -> Found:
        assert self.placement is not None
        return Found(self.placement, list(self.out.values()))

    def undo(self) -> None:
        for victim, _ in self.out.values():
            self.cluster.put_back(victim)
        self.cluster.tree.remove(self.workload.queue, self.cells)
        for queue, cells in self.surplus:
            self.cluster.tree.add(queue, cells)

    # -- whom, by which rule -----------------------------------------------------------------------------------------

    def _within_queue_first(self) -> bool:
        """Only where nobody else could help: those of its own queue are part of the other searches."""
        if self.mine.parent is not None:
            return False
        return self._take_all(self._lower_in_queue())

    def _by_reclaim(self) -> bool:
        """Others before its own, the lowest priority and the latest admitted first (Kueue's order)."""
        if self.mine.parent is None:
            return False
        foreign = sorted(self._borrowers(), key=lambda pair: _order(pair[0]))
        for victim, rule in foreign:
            if not self._branch_borrows(victim):
                continue  # whom it would be left with has its own, and nothing that was lent
            if self._take(victim, rule):
                return True
        return self._take_all(self._lower_in_queue())

    def _by_share(self) -> bool:
        if self.mine.parent is None:
            return False
        pools = self._candidates_by_queue()
        first = {name: list(pool) for name, pool in pools.items()}
        left: dict[str, list[tuple[Workload, Rule]]] = {}
        while queue := self._largest(first):
            victim, rule = first[queue].pop(0)
            if queue == self.workload.queue or self._may_take(victim, rule):
                if self._take(victim, rule):
                    return True
            else:
                left.setdefault(queue, []).append((victim, rule))
        while queue := self._largest(left):
            victim, rule = left.pop(queue)[0]
            if self._is_smaller(victim) and self._take(victim, rule):
                return True
        return False

    def _by_policy(self) -> bool:
        displaced = self.cluster.policy.displaces(self.cluster, self.workload, self.flavor, self.now)
        return self._take_all((each, rule) for each, rule in displaced if each.resumes)

    def _lower_in_queue(self) -> list[tuple[Workload, Rule]]:
        rule = self.line.queue.preemption.within_cluster_queue
        if rule == "Never" or (rule == "LowerPriority" and self._nobody_is_lower()):
            return []
        may = _WITHIN[rule]
        found = [each for each in self.line.holding.values() if self._may_go(each) and may(self.workload, each)]
        return [(each, Rule.HIGHER_PRIORITY) for each in sorted(found, key=_order)]

    def _nobody_is_lower(self) -> bool:
        return min(self.line.priorities, default=self.workload.priority) >= self.workload.priority

    def _borrowers(self) -> Iterable[tuple[Workload, Rule]]:
        """Of the rest of the cohort: those whose branch of the tree uses more than its own, while ours does not."""
        preemption = self.line.queue.preemption
        if not self._may_take_from_others(preemption):
            return
        for quota in self.cluster.tree.queues_below(self.mine.root()):
            if quota is self.mine:
                continue
            ours, theirs = branches(self.mine, quota)
            if not _over(theirs, self.cells):
                continue
            rule = self._rule_against(ours, preemption)
            if rule is None:
                continue
            for each in self.cluster.lines[quota.name].holding.values():
                if self._may_go(each) and _reclaims(rule, preemption, self.workload, each):
                    yield each, rule

    def _may_take_from_others(self, preemption: Preemption) -> bool:
        """False where the branch would borrow on every level, and may not take from others for that."""
        branches = (quota for quota in self.mine.path() if quota.parent is not None)
        return any(self._rule_against(ours, preemption) is not None for ours in branches)

    def _rule_against(self, ours: Quota, preemption: Preemption) -> Rule | None:
        if not _over(ours, self.cells):
            return Rule.RECLAIM if preemption.reclaim_within_cohort != "Never" else None
        return Rule.BORROWED_BY_LOWER if preemption.borrow_within_cohort != "Never" else None

    def _candidates_by_queue(self) -> dict[str, list[tuple[Workload, Rule]]]:
        preemption = self.line.queue.preemption
        found = {self.workload.queue: self._lower_in_queue()}
        if preemption.reclaim_within_cohort == "Never":
            return found
        for quota in self.cluster.tree.queues_below(self.mine.root()):
            ours, theirs = branches(self.mine, quota)
            if quota is self.mine or not _over(theirs, self.cells):
                continue
            rule = Rule.FAIR_SHARE if _over(ours, self.cells) else Rule.RECLAIM
            holding = self.cluster.lines[quota.name].holding.values()
            may = [each for each in holding if self._may_go(each) and _reclaims(rule, preemption, self.workload, each)]
            found[quota.name] = [(each, rule) for each in sorted(may, key=_order)]
        return found

    # -- shares ------------------------------------------------------------------------------------------------------

    def _largest(self, pools: dict[str, list[tuple[Workload, Rule]]]) -> str | None:
        """The queue to take from: from the root down the branch with the largest share that has candidates."""
        at = self.mine.root()
        having = {name for name, pool in pools.items() if pool}
        if not having:
            return None
        while at.children:
            below = self.cluster.tree.queues_below
            reach = [child for child in at.children if any(queue.name in having for queue in below(child))]
            at = max(reach, key=lambda child: child.share())
        return at.name

    def _may_take(self, victim: Workload, rule: Rule) -> bool:
        """What is its own it takes back, however much it borrows of something else."""
        return self._branch_borrows(victim) if rule is Rule.RECLAIM else self._stays_fairer(victim)

    def _stays_fairer(self, victim: Workload) -> bool:
        """Ours, with the workload, is not larger than theirs without the victim."""
        ours, theirs = branches(self.mine, self.cluster.lines[victim.queue].quota)
        if not _over(theirs, self.cells):
            return False
        mine = ours.share()
        self.cluster.take_out(victim)
        after = theirs.share()
        self.cluster.put_back(victim)
        return mine <= after

    def _is_smaller(self, victim: Workload) -> bool:
        ours, theirs = branches(self.mine, self.cluster.lines[victim.queue].quota)
        return _over(theirs, self.cells) and ours.share() < theirs.share()

    def _branch_borrows(self, victim: Workload) -> bool:
        return _over(branches(self.mine, self.cluster.lines[victim.queue].quota)[1], self.cells)

    # -- steps -------------------------------------------------------------------------------------------------------

    def _may_go(self, each: Workload) -> bool:
        return each.preemptible and not each.leaving and each.name not in self.out

    def _take_all(self, victims: Iterable[tuple[Workload, Rule]]) -> bool:
        return any(self._may_go(victim) and self._take(victim, rule) for victim, rule in victims)

    def _take(self, victim: Workload, rule: Rule) -> bool:
        if victim.guaranteed and self._is_kept(victim, rule):
            self.passed_over[victim.name] = victim
            return False
        self.cluster.take_out(victim)
        self.out[victim.name] = (victim, rule)
        return self._fits()

    def _is_kept(self, victim: Workload, rule: Rule) -> bool:
        if rule is Rule.HIGHER_PRIORITY:
            return victim.priority >= self.workload.priority
        return rule is not Rule.RECLAIM or self._is_own(victim)

    def _is_own(self, victim: Workload) -> bool:
        """All that is guaranteed in its queue is within what the queue has."""
        line = self.cluster.lines[victim.queue]
        kept = [each for each in line.holding.values() if each.guaranteed and self._may_go(each)]
        used = {cell: sum(each.cells.get(cell, 0) for each in kept) for cell in self.cells}
        return all(amount <= line.quota.subtree.get(cell, 0) for cell, amount in used.items())

    def _fits(self) -> bool:
        """Its own share of the quotas is in the books already."""
        if any(self.mine.available(cell) < 0 for cell in self.cells):
            return False
        self.placement = self.cluster.place(self.workload, self.flavor)
        return self.placement is not None

    def _give_back_needless(self) -> None:
        placement = self.placement
        for name in list(reversed(self.out)):
            victim, rule = self.out.pop(name)
            self.cluster.put_back(victim)
            if self._fits():
                placement = self.placement
            else:
                self.cluster.take_out(victim)
                self.out[name] = (victim, rule)
        self.placement = placement
        self._fits()


def branches(mine: Quota, theirs: Quota) -> tuple[Quota, Quota]:
    """The two children of their lowest common ancestor that lead to them."""
    above = list(mine.path())
    at = theirs
    while at.parent is not None and at.parent not in above:
        at = at.parent
    ours = above[above.index(at.parent) - 1] if at.parent is not None else above[-1]
    return ours, at


def _over(quota: Quota, cells: dict[Cell, int]) -> bool:
    return any(quota.usage.get(cell, 0) > quota.subtree.get(cell, 0) for cell in cells)


def _order(victim: Workload) -> tuple[bool, int, float, int]:
    return victim.guaranteed, victim.priority, -victim.admitted_at, -victim.serial


def _reclaims(rule: Rule, preemption: Preemption, workload: Workload, other: Workload) -> bool:
    if rule is Rule.BORROWED_BY_LOWER:
        threshold = preemption.threshold
        return other.priority < workload.priority and (threshold is None or other.priority <= threshold)
    return preemption.reclaim_within_cohort == "Any" or other.priority < workload.priority


_WITHIN: dict[str, Callable[[Workload, Workload], bool]] = {
    "Never": lambda _workload, _other: False,
    "LowerPriority": lambda workload, other: other.priority < workload.priority,
    "LowerOrNewerEqualPriority": lambda workload, other: (
        other.priority < workload.priority
        or (other.priority == workload.priority and other.queued_at > workload.queued_at)
    ),
}
