"""What holds of every schedule: random clusters, queues, work, faults and clocks against the real cycle.

Not part of `make test` yet: it still finds faults, where a quota is lowered below what is held while somebody is promised
its place, with `backfill`, and now and then with `las`. `make test-all` runs it; `GYRE_PROOF_EXAMPLES` runs more of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster, Promise
from services.gpu_scheduler.decisions.cycle import Admit, Evict
from services.gpu_scheduler.decisions.policies import POLICIES, named
from services.gpu_scheduler.decisions.policies.srtf import Oracle
from services.gpu_scheduler.decisions.quotas import Limit
from services.gpu_scheduler.decisions.tests.worlds import (
    ENDED,
    FLAVORS,
    HOLDING,
    JOBS,
    LEAVING,
    WAITING,
    Job,
    World,
    jobs_of,
    limits,
    worlds,
)

SHRINK = not os.environ.get("NOSHRINK")
PHASES = tuple(each for each in Phase if each is not Phase.explain and (SHRINK or each is not Phase.shrink))
USUAL = 20
EXAMPLES = int(os.environ.get("GYRE_PROOF_EXAMPLES", USUAL))
ONLINE = [name for name, policy in POLICIES.items() if not issubclass(policy, Oracle)]  # type: ignore[arg-type]
PICK = st.integers(0, 999)
FAULTS = ("lost", "cordoned", "other cards", "sick")
RUNS = st.sampled_from([True, True, False])  # is there a cycle before the next thing happens?


class Scheduler(RuleBasedStateMachine):
    """The facts are in `world`, the books under test in `cluster`. A promise is a fact too: the service writes it down."""

    policy = ""

    @initialize(world=worlds(), first=st.lists(JOBS, min_size=2, max_size=8))
    def begin(self, world: World, first: list[int]) -> None:
        self.world, self.now, self.serial = world, 1000.0, 0
        self.promised: dict[str, Promise] = {}
        self.contests: set[tuple[str, str, int]] = set()
        self.is_fresh = False  # nothing happened since the last cycle
        self.cluster = self._read()
        for given in first:
            self._submit(given)
        self.cycle()

    # -- what people and time do -------------------------------------------------------------------------------------

    @rule(given=st.lists(JOBS, min_size=1, max_size=3), runs=RUNS)
    def submit(self, given: list[int], runs: bool) -> None:
        for each in given:
            self._submit(each)
        self._then(runs)

    def _submit(self, given: int) -> None:
        self.serial += 1
        for job in jobs_of(given, self.world, f"w{self.serial}", self.now):
            job.serial = len(self.world.jobs) + 1
            self.world.jobs[job.name] = job
            self.cluster.submit(job.workload())
        self.is_fresh = False

    @rule(seconds=st.sampled_from([1.0, 60.0, 7200.0, -7200.0]))
    def clock(self, seconds: float) -> None:
        self.now += seconds

    @rule(pick=PICK, runs=RUNS)
    def cancel(self, pick: int, runs: bool) -> None:
        """Also while it is promised something, or leaves."""
        if not (job := self._any(pick, WAITING, HOLDING, LEAVING)):
            return
        job.cancelled, self.is_fresh = True, False
        if job.state == WAITING:
            job.state = ENDED
            self.cluster.withdraw(job.name)
            self._forget(job.name)
        elif job.state == HOLDING:
            job.state = LEAVING
            self.cluster.leaves(job.name)
        self._then(runs)

    @rule(pick=PICK, again=st.booleans(), runs=RUNS)
    def ends(self, pick: int, again: bool, runs: bool) -> None:
        """By itself, also while it is leaving: it is done, or it failed and waits again."""
        if job := self._any(pick, HOLDING, LEAVING):
            self._gone(job, again=again)
        self._then(runs)

    @rule(pick=PICK, runs=RUNS)
    def stop_is_confirmed(self, pick: int, runs: bool) -> None:
        if job := self._any(pick, LEAVING):
            self._gone(job, again=True)
        self._then(runs)

    @rule(runs=RUNS)
    def all_stops_are_confirmed(self, runs: bool) -> None:
        for job in [job for job in self.world.jobs.values() if job.state == LEAVING]:
            self._gone(job, again=True)
        self._then(runs)

    # -- faults, and what operators do: everything is read again -----------------------------------------------------

    @rule()
    def books_are_thrown_away(self) -> None:
        before = set(self.promised)
        self.cluster = self._read()
        assert set(self.promised) == before, "a promise was lost with the books"

    @precondition(lambda self: self.world.nodes)
    @rule(pick=PICK, fault=st.sampled_from(FAULTS), number=st.integers(0, 5), runs=RUNS)
    def node_changes(self, pick: int, fault: str, number: int, runs: bool) -> None:
        """It is lost, or heard of again; cordoned, or not any more; comes back with other cards; a card gets sick, or
        well."""
        node = self.world.nodes[sorted(self.world.nodes)[pick % len(self.world.nodes)]]
        if fault in ("lost", "other cards"):
            for job in self.world.on(node.name):
                self._end(job, again=True)
        if fault in ("lost", "cordoned"):
            node = replace(node, ready=not node.ready)
        elif fault == "other cards":
            capacity = Amount(node.capacity.cpu_milli, node.capacity.memory_bytes, number * CARD)
            node = replace(node, capacity=capacity, links=(), sick=frozenset())
        elif number < node.capacity.cards:
            for job in self.world.on(node.name):
                if any(share.node == node.name and number in dict(share.cards) for share in job.placement):
                    job.state = LEAVING
            node = replace(node, sick=node.sick ^ {number})
        self.world.nodes[node.name] = node
        self.cluster, self.is_fresh = self._read(), False
        self._then(runs)

    @rule(pick=PICK, given=limits(least=1), runs=RUNS)
    def quotas_change(self, pick: int, given: dict[tuple[str, int], Limit], runs: bool) -> None:
        queue = self.world.queues[sorted(self.world.queues)[pick % len(self.world.queues)]]
        self.world.queues[queue.name] = replace(queue, limits=given)
        self.cluster, self.is_fresh = self._read(), False
        self._then(runs)

    def _then(self, runs: bool) -> None:
        if runs:
            self.cycle()

    # -- the cycle ---------------------------------------------------------------------------------------------------

    @rule()
    def cycle(self) -> None:
        due = {name for name in self.promised if not self._leaving_for(name) and self._has_quota(name)}
        before = self.world.usage()
        decisions = cycle.run(self.cluster, self.now)
        admitted = {each.workload.name for each in decisions if isinstance(each, Admit)}
        assert due <= admitted, f"their places are free, but they were not admitted: {due - admitted}"
        for decision in decisions:
            event(f"evicted: {decision.rule}" if isinstance(decision, Evict) else "admitted")
            self._admitted(decision) if isinstance(decision, Admit) else self._evicted(decision)
        self._check_quotas(before)
        self.is_fresh = True

    def _has_quota(self, name: str) -> bool:
        """Not where quotas were lowered, and others above them have not left yet."""
        job, promise = self.world.jobs[name], self.promised[name]
        asked = {cell: job.requests[cell[1]] for cell in self.world.cells(job.queue) if cell[0] == promise.flavor}
        used = {(each, cell): self.world.used(each, cell) for each in self.world.path(job.queue) for cell in asked}
        return all(
            used[each, cell] + amount <= self.world.most(each, cell) for each, cell in used for amount in [asked[cell]]
        )

    def _admitted(self, admit: Admit) -> None:
        job = self.world.jobs[admit.workload.name]
        assert job.state == WAITING, f"{job.name} is {job.state} and was admitted"
        assert not job.flavors or admit.flavor in job.flavors
        job.state, job.flavor, job.placement, job.since = HOLDING, admit.flavor, admit.placement, self.now
        self.promised.pop(job.name, None)
        self.world.check_whole(job)
        self.world.check_nodes()

    def _evicted(self, evict: Evict) -> None:
        victim, gains = self.world.jobs[evict.workload.name], self.world.jobs[evict.gains.name]
        assert victim.state == HOLDING and victim.preemptible, f"{victim.name} is {victim.state}"
        assert gains.state == WAITING
        contest = (victim.name, gains.name, gains.spell)
        assert contest not in self.contests, f"{victim.name} has to go for {gains.name} once more"
        self.contests.add(contest)
        victim.state, victim.leaves_for, victim.rule = LEAVING, gains.name, evict.rule
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
        the last one admitted after it had looked.)"""
        left = [each.workload.name for each in cycle.run(self._read_apart(), self.now) if isinstance(each, Admit)]
        assert left == [], f"{left} could have been admitted"

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

    def _first_of(self, queue: str) -> list[Job]:
        waiting = [job for job in self.world.jobs.values() if job.queue == queue and job.state == WAITING]
        first = sorted(waiting, key=lambda job: self.cluster.waiting[job.name][:2])
        waited_for = first and first[0].name in self.cluster.reservations
        return first[:1] if waited_for or self.cluster.is_strict(self.cluster.lines[queue]) else first

    def _is_guaranteed(self, job: Job) -> bool:
        world, cells = self.world, self.world.cells(job.queue)
        for flavor in job.flavors or FLAVORS:
            asked = {cell: job.requests[cell[1]] for cell in cells if cell[0] == flavor and job.requests[cell[1]]}
            own = [(limit.nominal if (limit := world.limit(job.queue, cell)) else 0) for cell in asked]
            used = [world.used(job.queue, cell) + amount for cell, amount in asked.items()]
            if any(cell[0] == flavor for cell in cells) and all(u <= o for u, o in zip(used, own, strict=True)):
                return True
        return False

    # -- below -------------------------------------------------------------------------------------------------------

    def _any(self, pick: int, *states: str) -> Job | None:
        found = [job for job in self.world.jobs.values() if job.state in states]
        return found[pick % len(found)] if found else None

    def _gone(self, job: Job, *, again: bool) -> None:
        self.cluster.release(job.name, self.now)
        self._end(job, again=again)
        if job.state == WAITING:
            self.cluster.submit(job.workload())
        self.is_fresh = False

    def _end(self, job: Job, *, again: bool) -> None:
        job.state = WAITING if again and not job.cancelled else ENDED
        job.flavor, job.placement, job.leaves_for, job.spell = "", (), "", job.spell + 1

    def _forget(self, name: str) -> None:
        self.promised.pop(name, None)
        for victim in self._leaving_for(name):
            victim.leaves_for = ""

    def _leaving_for(self, name: str) -> list[Job]:
        return [job for job in self.world.jobs.values() if job.state == LEAVING and job.leaves_for == name]

    def _read(self) -> Cluster:
        cluster, broken = self._fresh()
        for promise in broken:
            gains = promise.workload.name
            self._forget(gains)
            self.contests = {contest for contest in self.contests if contest[1] != gains}  # what it was for is gone
        self.promised = {name: cluster.promises[name] for name in self.promised}
        return cluster

    def _read_apart(self) -> Cluster:
        """With what is kept for whom: where two flavors are as good, to keep to one is no fault."""
        cluster, broken = self._fresh()
        assert not broken, "a promise that holds would not survive that the books are thrown away"
        cluster.reservations = dict(self.cluster.reservations)
        return cluster

    def _fresh(self) -> tuple[Cluster, list[Promise]]:
        """Books made of the facts alone, as the service makes them of its tables."""
        world = self.world
        cluster = Cluster(
            named(self.policy), world.queues, world.cohorts, world.nodes.values() if world.nodes else None
        )
        for job in world.jobs.values():
            if job.holds:
                cluster.restore(job.workload(), job.flavor, job.placement, job.since)
                if job.state == LEAVING:
                    cluster.leaves(job.name)
            elif job.state == WAITING:
                cluster.submit(job.workload())
        return cluster, cluster.keep([self._again(cluster, promise) for promise in self.promised.values()])

    def _again(self, cluster: Cluster, promise: Promise) -> Promise:
        name = promise.workload.name
        leaving = {job.name: cluster.holding[job.name] for job in self._leaving_for(name)}
        in_order = {each: leaving[each] for each in promise.leaving if each in leaving}
        return Promise(
            cluster.waiting[name][2], promise.flavor, promise.placement, {}, in_order, promise.rule, promise.since
        )


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


@pytest.mark.chaos_long
@pytest.mark.parametrize("policy", ONLINE)
def test_what_must_hold_of_every_schedule_holds(policy: str) -> None:
    machine: Callable[[], Any] = type("Scheduler", (Scheduler,), {"policy": policy})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=checks,
            phases=PHASES,
            derandomize=EXAMPLES == USUAL,  # a test run asks the same questions each time, a long one new ones
        ),
    )
