"""Quota scenarios of our own, their ends worked out by hand from Kueue's documented rules. Cores, in whole numbers."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]
Scenario = dict[str, Any]


def _queue(name: str, nominal: int, cohort: str = "c", **given: Any) -> dict[str, Any]:
    quota = {"flavor": "f", "resource": "cpu", "nominal": nominal}
    quota |= {f"{limit}_limit": given.get(limit) for limit in ("borrowing", "lending")}
    preemption = {
        "within_cluster_queue": given.get("within", "Never"),
        "reclaim_within_cohort": given.get("reclaim", "Never"),
        "borrow_within_cohort": given.get("borrow", "Never"),
        "borrow_max_priority_threshold": given.get("threshold"),
    }
    strategy = "StrictFIFO" if given.get("strict") else "BestEffortFIFO"
    return {
        "name": name, "cohort": cohort, "quotas": [quota], "preemption": preemption, "queueing_strategy": strategy,
        "weight": given.get("weight", 1),
    }  # fmt: skip


def _submits(queue: str, count: int, size: int = 1, priority: int = 0, name: str = "") -> list[Event]:
    return [
        {
            "op": "submit",
            "workload": f"{name or queue}-{number}",
            "queue": queue,
            "request": {"cpu": size},
            "priority": priority,
        }
        for number in range(count)
    ]


def _batch(*events: list[Event]) -> list[Event]:
    return [{"op": "batch", "events": [each for some in events for each in some]}, SETTLE]


def _scenario(queues: list[dict[str, Any]], events: list[Event], final: dict[str, Any], **given: Any) -> Scenario:
    return {
        "schema": "schedref/quota-scenario/1",
        "mode": {"fair_sharing": given.pop("fair", False)},
        "cluster_queues": queues,
        "events": [*events, SETTLE],
        "final": final,
        "max_preemptions_per_workload": given.pop("most", 1),
        **given,
    }


SETTLE: Event = {"op": "settle"}
LENDS = _queue("a", 10, lending=4, reclaim="Any")
NESTED = [
    {"name": "root", "parent": None},
    {"name": "left", "parent": "root", "nominal": 1},
    {"name": "right", "parent": "root"},
]
FULL = [*_submits("b", 4), SETTLE]  # of a cohort of four

ENDS: dict[str, Scenario] = {
    "who borrows gets no more than is lent, and gives it back": _scenario(
        [LENDS, _queue("b", 5)],
        [*_submits("b", 12), {"op": "settle", "expect": {"usage_by_cq": {"b": 9}}}, *_submits("a", 10)],
        {"usage_by_cq": {"a": 10, "b": 5}, "preemptions": 4},
    ),
    "without reclaim a queue has but what it never lends": _scenario(
        [_queue("a", 10, lending=4), _queue("b", 5)],
        [*_submits("b", 12), SETTLE, *_submits("a", 10)],
        {"usage_by_cq": {"a": 6, "b": 9}, "preemptions": 0},
    ),
    "reclaim from lower priority leaves alone who is higher": _scenario(
        [_queue("a", 4, reclaim="LowerPriority"), _queue("b", 4)],
        [
            *_submits("b", 6, priority=10, name="high"),
            *_submits("b", 2, name="low"),
            SETTLE,
            *_submits("a", 4, priority=5),
        ],
        {"usage_by_cq": {"a": 2, "b": 6}, "pending": ["a-2", "a-3", "low-0", "low-1"], "preemptions": 2},
    ),
    "nobody passes a strict head, nor can the head be starved": _scenario(
        [_queue("a", 4, "", strict=True)],
        [*_submits("a", 1, 3), SETTLE, *_submits("a", 1, 2, name="big"), *_submits("a", 1, name="small")],
        {"admitted": ["a-0"], "pending": ["big-0", "small-0"]},
    ),
    "a strict head holds up its own queue alone": _scenario(
        [_queue("a", 2, strict=True), _queue("b", 2)],
        [
            *_submits("a", 1, 2),
            *_submits("b", 1),
            SETTLE,
            *_submits("a", 1, 3, name="big"),
            *_submits("a", 1, name="small"),
            *_submits("b", 1, name="more"),
        ],
        {"usage_by_cq": {"a": 2, "b": 2}, "pending": ["big-0", "small-0"]},
    ),
    "a nested cohort takes back its own and lends what is over": _scenario(
        [_queue("a", 2, "left", reclaim="Any"), _queue("b", 2, "right")],
        [*_submits("b", 6), {"op": "settle", "expect": {"usage_by_cq": {"b": 5}}}, *_submits("a", 2)],
        {"usage_by_cq": {"a": 2, "b": 3}, "preemptions": 2},
        cohorts=NESTED,
    ),
    "reclaim takes from the branch that borrows, not from a sibling": _scenario(
        [_queue("a1", 2, "left"), _queue("a2", 2, "left", reclaim="Any"), _queue("b", 2, "right")],
        [*_submits("a1", 2), *_submits("a2", 1), *_submits("b", 4), SETTLE, *_submits("a2", 1, name="more")],
        {"usage_by_cq": {"a1": 2, "a2": 2, "b": 3}, "preemptions": 1},
        cohorts=NESTED,
    ),
    "a borrower of low priority goes for one that borrows itself": _scenario(
        [_queue("a", 2, reclaim="Any", borrow="LowerPriority", threshold=5), _queue("b", 0), _queue("d", 2)],
        [*FULL, *_submits("a", 1, 3, priority=10)],
        {"usage_by_cq": {"a": 3, "b": 1}, "preemptions": 3},
    ),
    "who is above the threshold stays, and nobody goes in vain": _scenario(
        [_queue("a", 2, reclaim="Any", borrow="LowerPriority", threshold=5), _queue("b", 0), _queue("d", 2)],
        [*_submits("b", 4, priority=6), SETTLE, *_submits("a", 1, 3, priority=10)],
        {"usage_by_cq": {"a": 0, "b": 4}, "preemptions": 0},
    ),
    "who is within its own stays, and nobody goes in vain": _scenario(
        [_queue("a", 2, reclaim="Any", borrow="LowerPriority", threshold=5), _queue("b", 2)],
        [*FULL, *_submits("a", 1, 3, priority=10)],
        {"usage_by_cq": {"a": 0, "b": 4}, "preemptions": 0},
    ),
    "a queue of twice the weight gets twice as much": _scenario(
        [_queue("a", 0, weight=2), _queue("b", 0)],
        _batch(_submits("a", 12), _submits("b", 12)),
        {"usage_by_cq": {"a": 8, "b": 4}, "preemptions": 0},
        fair=True,
        cohorts=[{"name": "c", "parent": None, "nominal": 12}],
    ),
    "shares even out once, and come to rest": _scenario(
        [_queue("a", 0, reclaim="Any"), _queue("b", 0, reclaim="Any")],
        [*_submits("a", 14), SETTLE, *_submits("b", 14)],
        {"usage_by_cq": {"a": 6, "b": 6}, "preemptions": 6},
        fair=True,
        cohorts=[{"name": "c", "parent": None, "nominal": 12}],
    ),
    "a higher priority takes the place of who came last": _scenario(
        [_queue("a", 2, "", within="LowerPriority")],
        [
            *_submits("a", 1, name="first"),
            SETTLE,
            *_submits("a", 1, name="last"),
            SETTLE,
            *_submits("a", 1, priority=5),
        ],
        {"admitted": ["a-0", "first-0"], "pending": ["last-0"], "preemptions": 1},
    ),
    "a borrowing limit of nothing is none of the cohort's": _scenario(
        [_queue("a", 2, borrowing=0), _queue("b", 2)],
        [*_submits("a", 3)],
        {"usage_by_cq": {"a": 2}, "pending": ["a-2"]},
    ),
}
