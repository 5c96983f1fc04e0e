"""What holds of every schedule: random clusters, queues, work, faults and clocks against the real cycle.

- No card is given twice, no gang is split, nothing is admitted beyond a limit of a quota. Where a quota was lowered below
  what is held, what was admitted before may stay.
- What is a queue's own it gets in the cycle in which it asks, or others are asked to go for it: it is taken back within
  two cycles of their going. Not what the policy would not stop anybody for (a flavor on which the work would crawl).
- What is guaranteed is asked to go for nobody but a higher priority in its queue, as far as the queue's own holds it.
- Who is asked to go for somebody is not asked again for the same, and what it left is given to the one that it left for,
  unless that one was held or cancelled, or the cluster lost what was promised: a node, a card, a quota.
- Nobody is lost. Nothing that fits waits, but for what is kept for a head. Everybody who could ever start does, once
  those that run end (`everything_ends`); that it does too while others keep coming is in test_policies.
- The books are always those that would be made of the facts alone, as after a restart.

`make test` asks the same questions each time. The long form asks new ones, `GYRE_PROOF_EXAMPLES` of each policy.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis.internal.conjecture import providers
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit, Evict
from services.gpu_scheduler.decisions.policies import POLICIES
from services.gpu_scheduler.decisions.policies.srtf import Oracle
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.tests.happenings import Happenings
from services.gpu_scheduler.decisions.tests.worlds import HOLDING, LEAVING, WAITING, Job
from services.gpu_scheduler.decisions.work import Workload

PHASES = tuple(each for each in Phase if each is not Phase.explain)
USUAL = 20
EXAMPLES = int(os.environ.get("GYRE_PROOF_EXAMPLES", "500"))
ONLINE = [name for name, policy in POLICIES.items() if not issubclass(policy, Oracle)]  # type: ignore[arg-type]


class Scheduler(Happenings):
    # -- the cycle ---------------------------------------------------------------------------------------------------

    @rule()
    def cycle(self) -> None:
        due = self._due()
        before = self.world.usage()
        decisions = cycle.run(self.cluster, self.now)
        admitted = {each.workload.name for each in decisions if isinstance(each, Admit)}
        assert due <= admitted, f"their places are free, but they were not admitted: {due - admitted}"
        for decision in decisions:
            event(f"evicted: {decision.rule}" if isinstance(decision, Evict) else "admitted")
            self._admitted(decision) if isinstance(decision, Admit) else self._evicted(decision)
        for name in [name for name in self.promised if not self._waits(name) and not self._leaving_for(name)]:
            self._forget(name)  # it was to go on elsewhere, and ended
        self._check_quotas(before)
        self.is_fresh = True

    def _due(self) -> set[str]:
        """Whose places are free. Where a quota is less than what is held, they may have to wait until the others that
        leave, and hold too much, are gone: then nothing but quotas is in their way, and nobody else gets it."""
        after = self.world.after(self.promised.values())
        promised = {f"{name}, as promised": after.jobs[name] for name in self.promised}
        both = replace(self.world, jobs=self.world.jobs | promised)
        free = [name for name in self.promised if self._waits(name) and not self._leaving_for(name)]
        return {name for name in free if both.is_within_quotas(after.jobs[name])}

    def _admitted(self, admit: Admit) -> None:
        job = self.world.jobs[admit.workload.name]
        assert job.state == WAITING, f"{job.name} is {job.state} and was admitted"
        assert not job.flavors or admit.flavor in job.flavors
        job.state, job.flavor, job.placement, job.since = HOLDING, admit.flavor, admit.placement, self.now
        self.promised.pop(job.name, None)
        self.world.check_whole(job)
        self.world.check_nodes()

    def _evicted(self, evict: Evict) -> None:
        """For one that waits, or to go on elsewhere itself. A contest is over when the one that gains was admitted, was
        held or cancelled, or lost what it was promised: then it may ask the same again, and not before."""
        victim, gains = self.world.jobs[evict.workload.name], self.world.jobs[evict.gains.name]
        assert victim.state == HOLDING and victim.preemptible, f"{victim.name} is {victim.state}"
        assert gains.state == WAITING or (gains is victim and evict.rule == Rule.BETTER_CARD)
        is_own = self.world.keeps_guaranteed(victim.queue, gains.name) and evict.rule != Rule.HIGHER_PRIORITY
        assert not (victim.guaranteed and is_own and victim is not gains), f"{victim.name} is guaranteed"
        contest = (victim.name, gains.name, gains.spell)
        assert contest not in self.contests, f"{victim.name} has to go for {gains.name} once more"
        self.contests.add(contest)
        victim.state, victim.leaves_for, victim.rule = LEAVING, gains.name, evict.rule
        victim.preemptions += 1
        self.promised[gains.name] = self.cluster.promises[gains.name]

    def _check_quotas(self, before: dict[tuple[str, tuple[str, int]], int]) -> None:
        """Nothing that was admitted goes beyond a limit, with all counted that hold, also those that are leaving."""
        for (name, cell), used in self.world.usage().items():
            if used > before[name, cell]:
                assert used <= self.world.most(name, cell), f"{name} uses {used} of {cell}"

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_lost(self) -> None:
        jobs = self.world.jobs.values()
        assert set(self.cluster.waiting) == {job.name for job in jobs if job.state == WAITING}
        assert set(self.cluster.holding) == {job.name for job in jobs if job.holds}
        assert set(self.cluster.promises) == set(self.promised)
        for name, held in self.cluster.holding.items():
            assert held.leaving == (self.world.jobs[name].state == LEAVING), name

    @invariant()
    def nothing_is_given_twice(self) -> None:
        self.world.check_nodes()

    @invariant()
    def the_books_say_what_fresh_ones_would(self) -> None:
        fresh = self._read_apart()
        assert _usage(self.cluster) == _usage(fresh)
        assert _rooms(self.cluster) == _rooms(fresh)

    @invariant()
    @precondition(lambda self: self.is_fresh)
    def nothing_that_fits_waits(self) -> None:
        """A cycle that looks at everything anew finds room for nobody. (It may find somebody to displace among those that
        the last one admitted after it had looked; and behind the head of a strict queue the next whose turn it is.)"""
        again = cycle.run(self._read_apart(), self.now)
        left = [each.workload.name for each in again if isinstance(each, Admit) and not self._is_behind(each.workload)]
        assert left == [], f"{left} could have been admitted"

    def _is_behind(self, workload: Workload) -> bool:
        """The head of a strict queue, whom nobody passes but who waited too long."""
        is_strict = self.cluster.is_strict(self.cluster.lines[workload.queue])
        return is_strict and self._first_of(workload.queue)[0].name != workload.name

    @invariant()
    @precondition(lambda self: self.is_fresh)
    def guarantees_are_taken_back(self) -> None:
        """Where quotas alone bound what runs, nobody who stays within its own waits for those that borrow."""
        for name in self.world.queues if not self.world.nodes else ():
            tree = self.world.same_tree(name)
            inside = [job for job in self.world.jobs.values() if job.queue in tree]
            is_quiet = not any(job.state == LEAVING or job.name in self.promised for job in inside)
            foreign = [job for job in inside if job.queue != name and job.holds]
            preemption = self.world.queues[name].preemption
            if is_quiet and preemption.reclaim_within_cohort == "Any" and all(job.preemptible for job in foreign):
                for job in self._first_of(name):
                    assert not self._is_guaranteed(job), f"{job.name} waits for what is its queue's own"

    def _is_guaranteed(self, job: Job) -> bool:
        """On a flavor that the policy finds good enough for it to stop others."""
        world, cells = self.world, self.world.cells(job.queue)
        for flavor in self.cluster.policy.flavors(self.cluster, self.cluster.waiting[job.name][2], self.now):
            asked = {cell: job.requests[cell[1]] for cell in cells if cell[0] == flavor and job.requests[cell[1]]}
            own = [(limit.nominal if (limit := world.limit(job.queue, cell)) else 0) for cell in asked]
            used = [world.used(job.queue, cell) + amount for cell, amount in asked.items()]
            if any(cell[0] == flavor for cell in cells) and all(u <= o for u, o in zip(used, own, strict=True)):
                return True
        return False


def _usage(cluster: Cluster) -> dict[str, dict[tuple[str, int], int]]:
    nodes = {**cluster.tree.queues, **{f"cohort {name}": node for name, node in cluster.tree.cohorts.items()}}
    return {name: {cell: used for cell, used in node.usage.items() if used} for name, node in nodes.items()}


def _rooms(cluster: Cluster) -> dict[str, tuple[Any, ...]]:
    """What is left on each node; that a pool's short cuts agree with its rooms is checked on the way."""
    found = {}
    for flavor, pool in cluster.places.pools.items() if cluster.places else ():
        assert pool.free_cards == sum(room.whole for room in pool.rooms.values())
        assert {name: size for size, bucket in enumerate(pool.buckets) for name in bucket} == {
            name: room.whole for name, room in pool.rooms.items()
        }
        for name, room in pool.rooms.items():
            assert room.whole == room.cards.count(CARD)
            found[f"{flavor} {name}"] = (room.cpu, room.memory, tuple(room.cards))
    return found


@pytest.fixture
def same_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis also tries numbers that it finds in the modules that happen to be imported."""
    monkeypatch.setattr(providers, "_get_local_constants", providers.Constants)
    monkeypatch.setattr(providers, "CONSTANTS_CACHE", {})


@pytest.mark.usefixtures("same_questions")
@pytest.mark.parametrize("policy", ONLINE)
def test_what_must_hold_of_every_schedule_holds(policy: str) -> None:
    _holds(policy, USUAL, derandomize=True)


@pytest.mark.chaos_long
@pytest.mark.parametrize("policy", ONLINE)
def test_it_holds_of_many_more(policy: str) -> None:
    _holds(policy, EXAMPLES, derandomize=False)


def _holds(policy: str, examples: int, *, derandomize: bool) -> None:
    machine: Any = type("Scheduler", (Scheduler,), {"policy": policy})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=checks,
            phases=PHASES,
            database=None,
            derandomize=derandomize,
        ),
    )
