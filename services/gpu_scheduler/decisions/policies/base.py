"""What a policy is: pure answers about who is first, on what, and who has to go for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

Rank = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Speeds:
    """(throughput class, cards) → flavor → speed, as a multiple of a reference flavor's.

    `published`: by flavor alone, for what was never measured; 1 where that is not known either.
    """

    known: Mapping[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def of(self, kind: str, cards: int, flavor: str) -> float:
        measured = self.known.get((kind, cards), {}).get(flavor)
        return self.published.get(flavor, 1.0) if measured is None else measured


class Policy(Protocol):
    """`fair`: queues take turns by their share of the cohort. `strict`: nobody passes the first that does not fit.

    `looks_again`: seconds after which time alone may change an answer; 0: it never does.
    """

    name: str
    fair: bool
    strict: bool
    looks_again: float

    def rank(self, workload: Workload) -> Rank:
        """Among those that wait in one queue; the smallest is first. May not change while it waits."""

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        """On which flavors to try it, best first."""

    def displaces(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[tuple[Workload, Rule]]:
        """Who, beside those that quotas and priorities let it displace, would have to go for it; the first go first."""

    def ended(self, kind: str, seconds: float) -> None:
        """Work of that throughput class ran for so many normalised seconds in all: what there is to learn from."""


def by_arrival(workload: Workload) -> Rank:
    return (-workload.priority, workload.queued_at, workload.serial)


def as_listed(cluster: Cluster, workload: Workload) -> Sequence[str]:
    """In the order in which the workload, or else the cluster, names them."""
    return cluster.flavors(workload)
