"""Nobody waits for ever: who waited very long has its turn, whatever the policy thinks of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

WEEK = 7 * 86400.0
REST = 19  # turns take up at most one part in twenty of the time


class Patience:
    """One at a time, the one that waited longest: what comes free on the cards that it could start on first is kept.

    Between two turns it rests `REST` times as long as the last took. Cards stand idle while they are kept, and in an
    overloaded cluster nearly everybody has waited for a week: without the rest it would be first come, first served.
    """

    def __init__(self) -> None:
        self._name = ""
        self._since = self._next = 0.0

    def has_turn(self, workload: Workload) -> bool:
        return workload.name == self._name

    def turn(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        """The workload that has its turn, if any."""
        if self._name and self._name not in cluster.waiting:
            self._next = now + REST * (now - self._since)
            self._name = ""
        if not self._name and now >= self._next and cluster.waiting:
            since, _, name = min(
                (each.queued_at + each.ran, serial, name) for name, (_, serial, each) in cluster.waiting.items()
            )
            if now - since >= WEEK:
                self._name, self._since = name, now
            else:
                self._next = since + WEEK  # nobody else waits for so long before that
        if self._name and self._name not in cluster.promises:
            yield cluster.waiting[self._name][2]
