"""What a policy is: pure answers about who is first, on what, and who has to go for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

    `looks_again`: seconds after which time alone may change an answer, ranks too; 0: it never does.
    `has_second_choice`: it may fall back on flavors that suit less.
    """

    name: str
    fair: bool
    strict: bool
    looks_again: float
    has_second_choice: bool

    @property
    def epoch(self) -> int:
        """When it changes, ranks that were given before are old."""
        return 0

    def rank(self, workload: Workload) -> Rank:
        """Among those that wait in one queue; the smallest is first. Asked again after `looks_again` and when `epoch` changes."""

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        """On which flavors to try it, best first."""

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        """On which other flavors to put it rather than leave them idle, when all had their turn."""

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        """Who, beside those that quotas and priorities let it displace, would have to go for it; the first go first."""

    def moves(self, cluster: Cluster, now: float) -> Iterator[tuple[Workload, str]]:
        """Who had better go on elsewhere, and on which flavor; asked for the next when the one before was moved."""

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        """For whom what comes free is kept; asked for the next when the one before started or has its reservation."""

    def lasts(self, workload: Workload, now: float, speed: float) -> float:
        """Seconds in which it will have ended at that speed, from now; infinite where nothing is known about it."""

    def expects(self, workload: Workload, now: float, speed: float) -> float:
        """The same as people are told: an estimate too, on which nothing is promised."""

    def ended(self, workload: Workload, seconds: float) -> None:
        """It is done after so many normalised seconds in all, resumptions not counted: what there is to learn from."""


Flavors = Callable[["Cluster", Workload, float], Sequence[str]]


def by_arrival(workload: Workload) -> Rank:
    return (-workload.priority, workload.queued_at, workload.serial)


def as_listed(cluster: Cluster, workload: Workload) -> Sequence[str]:
    """In the order in which the workload, or else the cluster, names them."""
    return cluster.flavors(workload)
