"""Quota scenarios: small clusters, what is submitted in which order, and how it has to end (schedref/quota-scenario/1).

One second is one cycle. `settle` runs cycles until nothing changes any more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import NAMES, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit, Evict
from services.gpu_scheduler.decisions.policies.backfill import BestEffort
from services.gpu_scheduler.decisions.policies.fair import Fair
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, Limit, Preemption, Quota
from services.gpu_scheduler.decisions.work import Workload

SCHEMA = "schedref/quota-scenario/1"


class BadScenario(ValueError):
    """The file is no scenario; the message says where and what is wrong."""


@dataclass
class Result:
    """`faults`: where the end, or a moment on the way, was not as it had to be; empty: all was."""

    name: str
    faults: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.faults


def run(path: Path) -> Result:
    """Raises: BadScenario; OSError."""
    try:
        given = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadScenario(f"{path}: not JSON: {error}") from error
    if not isinstance(given, dict) or given.get("schema") != SCHEMA:
        raise BadScenario(f"{path}: `schema` must be {SCHEMA}")
    try:
        return _Stage(given).play()
    except (KeyError, TypeError, AttributeError) as error:
        raise BadScenario(f"{path}: {type(error).__name__}: {error}") from error


class _Stage:
    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.delay = int(given.get("eviction", {}).get("delay_cycles", 0))
        self.resubmits = bool(given.get("controller", {}).get("resubmit_preempted"))
        self.most_cycles = int(given.get("settle_cycles", 100))
        cohorts = {row["name"]: row for row in given.get("cohorts", [])}
        flavors = [quota["flavor"] for queue in given["cluster_queues"] for quota in queue["quotas"]]
        self.cluster = Cluster(
            Fair() if given["mode"].get("fair_sharing") else BestEffort(),
            {row["name"]: _queue(row) for row in given["cluster_queues"]},
            {name: _cohort(row, flavors) for name, row in cohorts.items()},
        )
        self.now = 0.0
        self.ends: dict[str, float] = {}
        self.gone_at: dict[str, float] = {}
        self.runtimes: dict[str, float] = {}
        self.preempted: Counter[str] = Counter()
        self.result = Result(str(given.get("name", "")))

    def play(self) -> Result:
        for event in self.given["events"]:
            self._event(event)
        self._compare("final", self.given.get("final", {}))
        self._bounds()
        self.result.state = self._state()
        return self.result

    def _event(self, event: Mapping[str, Any]) -> None:
        match event["op"]:
            case "submit":
                self._submit(event)
            case "batch":
                for each in event["events"]:
                    self._event(each)
            case "finish" | "cancel":
                self._finish(event["workload"])
            case "settle":
                self._settle()
                self._compare("after settling", event.get("expect", {}))
            case other:
                raise BadScenario(f"unknown op {other!r}: submit, batch, settle, finish or cancel")

    def _submit(self, event: Mapping[str, Any]) -> None:
        asked = event["request"]
        if unknown := set(asked) - set(NAMES):
            raise BadScenario(f"{event['workload']}: unknown resource {min(unknown)}: {', '.join(NAMES)}")
        amount = Amount(*(int(asked.get(name, 0)) for name in NAMES))
        if event.get("runtime_s") is not None:
            self.runtimes[event["workload"]] = float(event["runtime_s"])
        self.now += 1e-3
        workload = Workload(event["workload"], event["queue"], amount, self.now, priority=event.get("priority", 0))
        self.cluster.submit(workload)

    def _finish(self, name: str) -> None:
        if name in self.cluster.waiting:
            self.cluster.withdraw(name)
        elif name in self.cluster.holding:
            self._forget(name)
            self.cluster.release(name, self.now)

    def _settle(self) -> None:
        for _ in range(max(self.most_cycles, self.delay + 2) * 4):
            self.now += 1.0
            changed = self._pass_time()
            for decision in cycle.run(self.cluster, self.now):
                changed = True
                if isinstance(decision, Evict):
                    self._evicted(decision.workload)
                else:
                    self._admitted(decision)
            if not changed and not self.gone_at:
                return
        self.result.faults.append(f"still not at rest after {self.most_cycles * 4} cycles")

    def _pass_time(self) -> bool:
        changed = False
        for name in [name for name, end in self.ends.items() if end <= self.now]:
            self._finish(name)
            changed = True
        for name in [name for name, end in self.gone_at.items() if end <= self.now]:
            del self.gone_at[name]
            workload = self.cluster.release(name, self.now)
            if self.resubmits:
                workload.queued_at, workload.serial = self.now, 0
            self.cluster.submit(workload)
            changed = True
        return changed

    def _admitted(self, decision: Admit) -> None:
        if runtime := self.runtimes.get(decision.workload.name):
            self.ends[decision.workload.name] = self.now + runtime
        self._invariants()

    def _evicted(self, workload: Workload) -> None:
        self.preempted[workload.name] += 1
        self.ends.pop(workload.name, None)
        self.gone_at[workload.name] = self.now + self.delay

    def _forget(self, name: str) -> None:
        self.ends.pop(name, None)
        self.gone_at.pop(name, None)

    # -- what has to hold --------------------------------------------------------------------------------------------

    def _usage(self) -> dict[str, int]:
        """What is really held, by queue: also by those that were asked to leave and have not yet."""
        usage = dict.fromkeys(self.cluster.lines, 0)
        for workload in self.cluster.holding.values():
            usage[workload.queue] += sum(workload.requests)
        return usage

    def _invariants(self) -> None:
        for name, line in self.cluster.lines.items():
            for cell, limit in line.queue.limits.items():
                held = sum(each.requests[cell[1]] for each in line.holding.values() if each.flavor == cell[0])
                if limit.borrowing is not None and held > limit.nominal + limit.borrowing:
                    self.result.faults.append(f"{name} holds {held}, over its nominal and borrowing limit")
        for root in {line.quota.root() for line in self.cluster.lines.values()}:
            lines = [line for line in self.cluster.lines.values() if line.quota.root() is root]
            for cell in {cell for line in lines for cell in line.queue.limits}:
                holding = [each for line in lines for each in line.holding.values() if each.flavor == cell[0]]
                held, most = sum(each.requests[cell[1]] for each in holding), _owned(root, cell)
                if held > most:
                    self.result.faults.append(f"cohort {root.name} holds {held} of {most}")

    def _bounds(self) -> None:
        total = sum(self.preempted.values())
        each = max(self.preempted.values(), default=0)
        for given, found in (("max_total_preemptions", total), ("max_preemptions_per_workload", each)):
            if given in self.given and found > self.given[given]:
                self.result.faults.append(f"{found} preemptions, {given} is {self.given[given]}")

    def _state(self) -> dict[str, Any]:
        lines = self.cluster.lines.items()
        return {
            "admitted": sorted(name for name in self.cluster.holding if name not in self.gone_at),
            "pending": sorted(self.cluster.waiting),
            "usage_by_cq": self._usage(),
            "weighted_share": {name: round(line.quota.share() * 1000, 1) for name, line in lines},
            "preemptions": sum(self.preempted.values()),
        }

    def _compare(self, when: str, expected: Mapping[str, Any]) -> None:
        state = self._state()
        for key, wanted in expected.items():
            if key == "why":
                continue
            found = self._figure(key, state)
            if not _agrees(key, found, wanted):
                self.result.faults.append(f"{when}: {key} is {found}, has to be {wanted}")

    def _figure(self, key: str, state: Mapping[str, Any]) -> Any:
        """Raises: BadScenario for an expectation that is not known: it must not pass for met."""
        plain = key.removesuffix("_includes").removesuffix("_le")
        if plain in state:
            return state[plain]
        if plain in ("preempted_count", "preemption_count"):
            return state["preemptions"]
        if plain == "cohort_usage":
            return sum(state["usage_by_cq"].values())
        for kind in ("admitted", "pending", "usage"):
            if plain.startswith(kind):
                queues = self._queues(plain.removeprefix(kind).removeprefix("_in").removeprefix("_"))
                if kind == "usage":
                    return sum(state["usage_by_cq"][name] for name in queues)
                return [each for each in state[kind] if self._queue_of(each) in queues]
        raise BadScenario(f"unknown expectation {key!r}")

    def _queues(self, part: str) -> Sequence[str]:
        """Those whose name has `part` in it, written with underscores."""
        found = [name for name in self.cluster.lines if part.replace("_", "-") in name]
        if not found:
            raise BadScenario(f"no queue has {part!r} in its name")
        return found

    def _queue_of(self, name: str) -> str:
        return (self.cluster.holding.get(name) or self.cluster.waiting[name][2]).queue


def _owned(quota: Quota, cell: Cell) -> int:
    """By it and by all below it, what they never lend included."""
    limit = quota.limits.get(cell)
    return (limit.nominal if limit else 0) + sum(_owned(child, cell) for child in quota.children)


def _agrees(key: str, found: Any, wanted: Any) -> bool:
    if key.endswith("_le"):
        return bool(found <= wanted)
    if key.endswith("_includes"):
        return set(wanted) <= set(found)
    if isinstance(wanted, Mapping):
        return all(abs(found[name] - value) <= 0.1 for name, value in wanted.items())
    if isinstance(wanted, list):
        return sorted(found) == sorted(wanted)
    return bool(found == wanted)


def _queue(row: Mapping[str, Any]) -> ClusterQueue:
    given = row.get("preemption", {})
    preemption = Preemption(
        given.get("within_cluster_queue", "Never"),
        given.get("reclaim_within_cohort", "Never"),
        given.get("borrow_within_cohort", "Never"),
        given.get("borrow_max_priority_threshold"),
    )
    limits = {
        (quota["flavor"], NAMES.index(quota["resource"])): Limit(
            quota["nominal"], quota.get("borrowing_limit"), quota.get("lending_limit")
        )
        for quota in row["quotas"]
    }
    strict = row.get("queueing_strategy") == "StrictFIFO"
    return ClusterQueue(row["name"], row.get("cohort") or "", limits, row.get("weight", 1), strict, preemption)


def _cohort(row: Mapping[str, Any], flavors: Sequence[str]) -> Cohort:
    """Its own nominal quota is of the one flavor and resource that the scenario is about."""
    limits = {(flavor, 0): Limit(row.get("nominal") or 0) for flavor in dict.fromkeys(flavors)}
    return Cohort(row["name"], row.get("parent") or "", limits, row.get("weight", 1))
