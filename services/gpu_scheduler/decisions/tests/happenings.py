"""What happens to a scheduler, at random: work comes, ends and is held, nodes fail, quotas change, clocks jump."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit
from services.gpu_scheduler.decisions.policies import named
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.quotas import Limit
from services.gpu_scheduler.decisions.tests.worlds import (
    ENDED,
    HELD,
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

DAY = 86400.0
PICK = st.integers(0, 999)
FAULTS = ("lost", "cordoned", "other cards", "sick")
RUNS = st.sampled_from([True, True, False])  # is there a cycle before the next thing happens?


class Happenings(RuleBasedStateMachine):
    """The facts are in `world`, the books under test in `cluster`. A promise is a fact too: the service writes it down.

    `contests`: who was asked to go for whom, and in which of its spells of waiting.
    """

    policy = ""
    cycle: Callable[[], None]  # one cycle, with what is checked of it

    @initialize(world=worlds(), first=st.lists(JOBS, min_size=2, max_size=8))
    def begin(self, world: World, first: list[int]) -> None:
        self.world, self.now, self.submitted, self.serial = world, 1000.0, 0, 0
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
        self.submitted += 1
        for job in jobs_of(given, self.world, f"w{self.submitted}", self.now):
            self._begins_to_wait(job)
            self.world.jobs[job.name] = job
            self.cluster.submit(job.workload())
        self.is_fresh = False

    @rule(seconds=st.sampled_from([1.0, 60.0, 7200.0, -7200.0, 10 * DAY, -10 * DAY]))
    def clock(self, seconds: float) -> None:
        """Forth, or put back; where time alone may change an answer, all is looked at again, as the service does."""
        self.now += seconds
        if self.cluster.policy.looks_again:
            self.cluster.rank_again()
            self.is_fresh = False

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

    @rule(pick=PICK, runs=RUNS)
    def hold_or_release(self, pick: int, runs: bool) -> None:
        """Also while it is promised something: it does not wait then, and begins a new contest when it waits again."""
        if not (job := self._any(pick, WAITING, HELD)):
            return
        self.is_fresh = False
        if job.state == WAITING:
            job.state, job.spell = HELD, job.spell + 1
            self.cluster.withdraw(job.name)
            self._forget(job.name)
        else:
            self._begins_to_wait(job)
            self.cluster.submit(job.workload())
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
        self._confirm_all()
        self._then(runs)

    @rule()
    def everything_ends(self) -> None:
        """Nobody waits for ever: where all that runs ends and nothing comes, everybody starts who could ever start."""
        for _ in range(4 * len(self.world.jobs)):
            self._confirm_all()
            for job in [job for job in self.world.jobs.values() if job.state == HOLDING]:
                self._gone(job, again=False)
            self.cycle()
            if not any(job.holds for job in self.world.jobs.values()):
                break
        for queue in self.world.queues:
            for job in self._first_of(queue):
                assert not self._could_start_alone(job), f"{job.name} waits for ever"

    def _confirm_all(self) -> None:
        for job in [job for job in self.world.jobs.values() if job.state == LEAVING]:
            self._gone(job, again=True)

    def _could_start_alone(self, job: Job) -> bool:
        alone = self._books(replace(self.world, jobs={job.name: job}))
        return any(isinstance(each, Admit) for each in cycle.run(alone, self.now))

    # -- faults, and what operators do: everything is read again -----------------------------------------------------

    @rule()
    def books_are_thrown_away(self) -> None:
        self.cluster = self._read_apart()
        self.promised = dict(self.cluster.promises)

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
                    job.state = LEAVING  # for whom it left already, or for nobody
            node = replace(node, sick=node.sick ^ {number})
        self.world.nodes[node.name] = node
        self.cluster, self.is_fresh = self._read(), False
        self._then(runs)

    @rule(pick=PICK, given=limits(least=1), runs=RUNS)
    def quotas_change(self, pick: int, given: dict[tuple[str, int], Limit], runs: bool) -> None:
        """Of a queue or a cohort, also to less than what is used."""
        described: list[dict[str, Any]] = [self.world.queues, self.world.queues, self.world.cohorts]
        changed = described[pick % 3]
        name = sorted(changed)[pick // 3 % len(changed)]
        changed[name] = replace(changed[name], limits=given)
        self.cluster, self.is_fresh = self._read(), False
        self._then(runs)

    def _then(self, runs: bool) -> None:
        if runs:
            self.cycle()

    # -- below -------------------------------------------------------------------------------------------------------

    def _any(self, pick: int, *states: str) -> Job | None:
        found = [job for job in self.world.jobs.values() if job.state in states]
        return found[pick % len(found)] if found else None

    def _first_of(self, queue: str) -> list[Job]:
        waiting = [job for job in self.world.jobs.values() if job.queue == queue and job.state == WAITING]
        first = sorted(waiting, key=lambda job: self.cluster.waiting[job.name][:2])
        is_kept = any(job.name in self.cluster.reservations for job in first)
        return first[:1] if is_kept or self.cluster.is_strict(self.cluster.lines[queue]) else first

    def _gone(self, job: Job, *, again: bool) -> None:
        job.ran = self.cluster.release(job.name, self.now).ran
        self._end(job, again=again)
        if job.state == WAITING:
            self.cluster.submit(job.workload())
        self.is_fresh = False
        if job.state == ENDED and job.name in self.promised:
            self.cycle()  # it was to go on elsewhere: the next cycle finds that it does not

    def _end(self, job: Job, *, again: bool) -> None:
        job.flavor, job.placement, job.leaves_for, job.spell, job.state = "", (), "", job.spell + 1, ENDED
        if again and not job.cancelled:
            self._begins_to_wait(job)

    def _begins_to_wait(self, job: Job) -> None:
        self.serial += 1
        job.state, job.serial = WAITING, self.serial

    def _forget(self, name: str) -> None:
        """Who leaves for it leaves all the same. It may ask for anything anew."""
        self.promised.pop(name, None)
        self.contests = {contest for contest in self.contests if contest[1] != name}
        for victim in self._leaving_for(name):
            victim.leaves_for = ""

    def _waits(self, name: str) -> bool:
        return self.world.jobs[name].state == WAITING

    def _leaving_for(self, name: str) -> list[Job]:
        return [job for job in self.world.jobs.values() if job.state == LEAVING and job.leaves_for == name]

    # -- books made of the facts alone, as the service makes them of its tables ------------------------------------------

    def _read(self) -> Cluster:
        """After the cluster changed. A promise is broken only where what was promised is not there any more."""
        cluster = self._books(self.world)
        for name in [name for name in self.promised if self.world.jobs[name].state == ENDED]:
            self._forget(name)
        broken = cluster.keep([self._again(cluster, promise) for promise in self.promised.values()])
        for promise in broken:
            after = self.world.after([*cluster.promises.values(), promise])
            assert not after.has_room_for(after.jobs[promise.workload.name]), f"{promise.workload.name} left out"
            self._forget(promise.workload.name)
        self.promised = {name: cluster.promises[name] for name in self.promised}
        return cluster

    def _read_apart(self) -> Cluster:
        """What is not written down goes along: whose turn it is, and for whom what is kept."""
        cluster = self._books(self.world)
        broken = cluster.keep([self._again(cluster, promise) for promise in self.promised.values()])
        assert not broken, "a promise that holds would not survive that the books are thrown away"
        cluster.reservations = dict(self.cluster.reservations)
        if patience := getattr(self.cluster.policy, "_patience", None):
            vars(cluster.policy)["_patience"] = copy(patience)
        return cluster

    def _books(self, world: World) -> Cluster:
        nodes = world.nodes.values() if world.nodes else None
        cluster = Cluster(named(self.policy), world.queues, world.cohorts, nodes, world.speeds)
        for job in world.jobs.values():
            if job.holds:
                cluster.restore(job.workload(), job.flavor, job.placement, job.since)
                if job.state == LEAVING:
                    cluster.leaves(job.name)
            elif job.state == WAITING:
                cluster.submit(job.workload())
        return cluster

    def _again(self, cluster: Cluster, promise: Promise) -> Promise:
        name = promise.workload.name
        leaving = {job.name: cluster.holding[job.name] for job in self._leaving_for(name)}
        in_order = {each: leaving[each] for each in promise.leaving if each in leaving}
        workload = cluster.waiting[name][2] if name in cluster.waiting else cluster.holding[name]
        return Promise(workload, promise.flavor, promise.placement, {}, in_order, promise.rule, promise.since)
