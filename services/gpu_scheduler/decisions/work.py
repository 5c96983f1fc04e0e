"""A workload as the scheduler sees it, and where it is put."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from services.gpu_scheduler.decisions.amounts import Amount


class Share(NamedTuple):
    """What a workload holds of one node. `cards`: (index, thousandths) of each."""

    node: str
    amount: Amount
    cards: tuple[tuple[int, int], ...] = ()


Placement = tuple[Share, ...]


@dataclass(slots=True, eq=False)
class Workload:
    """One that waits or holds. Times are Unix seconds, or a replay's.

    `queue`: its cluster queue. `flavors`: those that it accepts, best first; empty means any. `kind` is its throughput
    class (a model type, a recipe). `ran`: seconds for which its earlier attempts held their resources, normalised by
    the speed of their flavor. `serial` breaks ties in order of arrival. `not_before`: the end of a back-off.
    `resumes`: it goes on where it was after a stop; only such work is stopped for the sake of order alone.
    `guaranteed`: others do not take its place, as far as its queue's own quota holds it; that may change while it holds.
    `serves`: it has no end, as a deployment's replica; how long such work takes says nothing of others.
    `max_run`: seconds after which an attempt is ended; 0: not bounded.
    """

    name: str
    queue: str
    requests: Amount
    queued_at: float
    serial: int = 0
    priority: int = 0
    flavors: tuple[str, ...] = ()
    kind: str = ""
    user: str = ""
    preemptible: bool = True
    resumes: bool = True
    serves: bool = False
    guaranteed: bool = False
    ran: float = 0.0
    max_run: float = 0.0
    not_before: float = 0.0
    preemptions: int = 0
    # while it holds
    flavor: str = ""
    speed: float = 1.0
    placement: Placement = ()
    admitted_at: float = 0.0
    leaving: bool = False
    cells: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[Amount, tuple[str, ...], str, bool, float]:
        """Workloads of one queue and shape fit in the same places, so that the first that does not speaks for all.

        `max_run` is a part of it: what is short enough may use cards that are kept for somebody.
        """
        return self.requests, self.flavors, self.kind, self.preemptible, self.max_run

    def attained(self, now: float) -> float:
        """Normalised seconds for which it has run so far, this attempt's included. A clock that was put back takes none of them away."""
        return self.ran + max(0.0, now - self.admitted_at) * self.speed if self.placement else self.ran
