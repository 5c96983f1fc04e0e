"""Who held what of own machines for how long, and what that cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gyre.gpu_scheduler.v1.accounting_pb2 import (
    Attempt,
    CapacityEfficiency,
    CapacityUsage,
    CapacityUsageRow,
    ClusterUtilisation,
    EfficiencyRow,
    QueueStatistics,
)

from gyre_sdk import messages
from gyre_sdk.collection import PAGE_SIZE
from gyre_sdk.transport import Transport


class Accounting:
    """Of one project, or with `everywhere` of every one that the key opens. A period not given is the last 30 days."""

    def __init__(self, transport: Transport, project: str) -> None:
        self._transport = transport
        self.project = project

    def usage(
        self, group_by: str = "", start: datetime | None = None, end: datetime | None = None, *, everywhere: bool = False,
        filter: str = "", order_by: str = "", limit: int = 50,
    ) -> CapacityUsage:  # fmt: skip
        """At most `limit` groups, and the total of all. `group_by`: any of day, project, user, queue, flavor, kind."""
        asked = _asked(start, end, group_by=group_by, filter=filter, order_by=order_by)
        path = self._path("capacity-usage", everywhere)
        report = self._usage_page(path, asked | {"page_size": min(limit, PAGE_SIZE)})
        times = {"start_time": report.start_time.ToJsonString(), "end_time": report.end_time.ToJsonString()}
        token = "" if len(report.rows) >= limit else report.next_page_token
        if token:  # the other pages are of the same period, also where it was to last until now
            report = self._usage_page(path, asked | times | {"page_size": PAGE_SIZE})
            rows: list[CapacityUsageRow] = list(report.rows)
            while report.next_page_token and len(rows) < limit:
                page = {"page_size": PAGE_SIZE, "page_token": report.next_page_token}
                report = self._usage_page(path, asked | times | page)
                rows += report.rows
            del report.rows[:]
            report.rows.extend(rows[:limit])
        return report

    def csv(
        self, group_by: str = "", start: datetime | None = None, end: datetime | None = None, *, everywhere: bool = False,
        filter: str = "", order_by: str = "",
    ) -> Iterator[str]:  # fmt: skip
        """The whole report for a spreadsheet, piece by piece."""
        asked = _asked(start, end, group_by=group_by, filter=filter, order_by=order_by)
        return self._transport.text(self._path("capacity-usage.csv", everywhere), asked)

    def utilisation(
        self, start: datetime | None = None, end: datetime | None = None, step: str = ""
    ) -> ClusterUtilisation:
        """Of all machines together. `step`: STEP_HOUR (8 days at most) or STEP_DAY."""
        reply = self._transport.call("GET", "/utilisation", query=_asked(start, end, step=step))
        return messages.parse(ClusterUtilisation, reply)

    def efficiency(
        self, by: str = "flavor", start: datetime | None = None, end: datetime | None = None, *, order_by: str = "",
        limit: int = 50,
    ) -> CapacityEfficiency:  # fmt: skip
        """Of all machines together, at most `limit` rows. `by`: flavor or node."""
        asked = _asked(start, end, by=f"BY_{by.upper()}", order_by=order_by)
        report = self._efficiency_page(asked | {"page_size": min(limit, PAGE_SIZE)})
        if report.next_page_token and len(report.rows) < limit:
            period = {"start_time": report.start_time.ToJsonString(), "end_time": report.end_time.ToJsonString()}
            asked |= period | {"page_size": PAGE_SIZE}
            report = self._efficiency_page(asked)
            rows: list[EfficiencyRow] = list(report.rows)
            while report.next_page_token and len(rows) < limit:
                report = self._efficiency_page(asked | {"page_token": report.next_page_token})
                rows += report.rows
            del report.rows[:]
            report.rows.extend(rows[:limit])
        return report

    def efficiency_csv(
        self, by: str = "flavor", start: datetime | None = None, end: datetime | None = None, *, order_by: str = ""
    ) -> Iterator[str]:
        """The whole report for a spreadsheet, piece by piece."""
        return self._transport.text("/efficiency.csv", _asked(start, end, by=f"BY_{by.upper()}", order_by=order_by))

    def queue_statistics_csv(
        self, start: datetime | None = None, end: datetime | None = None, *, everywhere: bool = False
    ) -> Iterator[str]:
        return self._transport.text(self._path("queue-statistics.csv", everywhere), _asked(start, end))

    def queue_statistics(
        self, start: datetime | None = None, end: datetime | None = None, *, everywhere: bool = False
    ) -> Iterator[QueueStatistics]:
        """Waits and preemptions, queue by queue."""
        for item in self._pages("queue-statistics", "queues", _asked(start, end), everywhere):
            yield messages.parse(QueueStatistics, item)

    def attempts(
        self, start: datetime, end: datetime, *, everywhere: bool = False, filter: str = "", order_by: str = ""
    ) -> Iterator[Attempt]:
        """All that held something in the period, newest first."""
        asked = _asked(start, end, filter=filter, order_by=order_by)
        for item in self._pages("attempts", "attempts", asked, everywhere):
            yield messages.parse(Attempt, item)

    def _usage_page(self, path: str, query: dict[str, Any]) -> CapacityUsage:
        return messages.parse(CapacityUsage, self._transport.call("GET", path, query=query))

    def _efficiency_page(self, query: dict[str, Any]) -> CapacityEfficiency:
        return messages.parse(CapacityEfficiency, self._transport.call("GET", "/efficiency", query=query))

    def _pages(self, what: str, plural: str, asked: dict[str, Any], everywhere: bool) -> Iterator[dict[str, Any]]:
        query = asked | {"page_size": PAGE_SIZE}
        while True:
            reply = self._transport.call("GET", self._path(what, everywhere), query=query)
            yield from reply.get(plural, ())
            if not (token := reply.get("next_page_token")):
                return
            query = query | {"page_token": token}

    def _path(self, what: str, everywhere: bool) -> str:
        return f"/{what}" if everywhere else f"/projects/{self.project}/{what}"


def _asked(start: datetime | None, end: datetime | None, **query: str) -> dict[str, Any]:
    times = {"start_time": start, "end_time": end}
    asked = {name: time.isoformat() for name, time in times.items() if time is not None}
    return asked | {name: value for name, value in query.items() if value}
