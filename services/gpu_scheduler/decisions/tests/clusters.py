"""Small clusters for tests, and what a cycle said about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.gpu_scheduler.decisions import cycle, shortage
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit, Decision, Evict
from services.gpu_scheduler.decisions.places import Node
from services.gpu_scheduler.decisions.policies import named
from services.gpu_scheduler.decisions.quotas import ClusterQueue
from services.gpu_scheduler.decisions.work import Workload

NOW = 1000.0
GIB = 1024**3
QUEUE = "q"
TWO_CORES = Node("a", "cpu", Amount(2000, 24 * GIB))
TRAINER = Amount(1500, 2 * GIB)
REPLICA = Amount(250, GIB)


def cards(count: int, share: int = 0) -> Amount:
    return Amount(100, GIB, count * CARD + share)


def gpu_node(name: str, count: int = 8, flavor: str = "a100", **values: object) -> Node:
    return Node(name, flavor, Amount(64_000, 512 * GIB, count * CARD), **values)  # type: ignore[arg-type]


def work(name: str, requests: Amount = TRAINER, *, age: float = 0.0, queue: str = QUEUE, **values: object) -> Workload:
    return Workload(name, queue, requests, NOW - age, **values)  # type: ignore[arg-type]


def cluster(
    *waiting: Workload,
    nodes: Sequence[Node] | None = (TWO_CORES,),
    queues: Iterable[ClusterQueue] = (ClusterQueue(QUEUE),),
    policy: str = "best-effort",
    **values: object,
) -> Cluster:
    made = Cluster(named(policy), {queue.name: queue for queue in queues}, nodes=nodes, **values)  # type: ignore[arg-type]
    for each in waiting:
        made.submit(each)
    return made


def holds(made: Cluster, *workloads: Workload) -> Cluster:
    """Admits them one after the other, each on its own."""
    for each in workloads:
        flavor = made.flavors(each)[0]
        placement = made.place(each, flavor)
        assert placement is not None, f"{each.name} does not fit"
        made.admit(each, flavor, placement, NOW)
    return made


def run(made: Cluster, now: float = NOW) -> list[Decision]:
    return cycle.run(made, now)


def admitted(decisions: Iterable[Decision]) -> list[str]:
    return [each.workload.name for each in decisions if isinstance(each, Admit)]


def evicted(decisions: Iterable[Decision]) -> list[tuple[str, str, str]]:
    """(who goes, for whom, by which rule)."""
    return [(each.workload.name, each.gains.name, each.rule) for each in decisions if isinstance(each, Evict)]


def reasons(made: Cluster) -> dict[str, str]:
    return {name: str(shortage.why(made, entry[2]).reason) for name, entry in made.waiting.items()}
