"""What was held, how well machines were used and how long work waited, as files for spreadsheets: all pages, RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from gyre.gpu_scheduler.v1 import accounting_pb2, accounting_service_pb2
from gyre.gpu_scheduler.v1.accounting_service_pb2_grpc import AccountingServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.periods import USUAL
from gyre_kit.render import enum_name
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PAGE_SIZE = 500
MEASURES = ("held_seconds", "core_seconds", "card_seconds", "cost_usd", "attempt_count", "preemption_count")
EFFICIENCY = (
    "core_capacity_seconds", "core_held_seconds", "card_capacity_seconds", "card_held_seconds",
    "simulated_card_capacity_seconds", "core_utilisation", "card_utilisation",
)  # fmt: skip
WAITS = (
    "queue", "admission_count", "wait_mean_seconds", "wait_p50_seconds", "wait_p95_seconds", "wait_p99_seconds",
    "preemption_count", "waiting_count", "head_wait_seconds",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula (OWASP)
MARK = "\ufeff"  # by it spreadsheets know UTF-8
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


class Within(BaseModel):
    """A period, as all reports take it."""

    model_config = ConfigDict(extra="forbid")

    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None


class Asked(Within):
    """As GetUsage takes it, but for pages."""

    group_by: str = Field("", max_length=200)
    filter: str = Field("", max_length=1000)
    order_by: str = Field("", max_length=100)


class AskedEfficiency(Within):
    """As GetEfficiency takes it, but for pages."""

    by: Literal["BY_FLAVOR", "BY_NODE"] = "BY_FLAVOR"
    order_by: str = Field("", max_length=100)


@dataclass(frozen=True)
class Sheet:
    """A report as a file: `ask` gives a page, `rows` the cells of its lines below `titles`."""

    file: str
    ask: Callable[[Any], Awaitable[Any]]
    titles: list[str]
    rows: Callable[[Any], Iterable[list[str]]]


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["gpu_scheduler"])

    async def usage_file(request: Request, asked: Asked, project: str | None, file: str) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        name = f"projects/{project}/capacityUsage" if project else ""
        question = accounting_service_pb2.GetUsageRequest(
            name=name, group_by=asked.group_by, filter=asked.filter, order_by=asked.order_by
        )
        return await _file(identity, _usage(_stub(context()), asked.group_by, file), _within(question, asked))

    async def waits_file(request: Request, asked: Within, project: str | None, file: str) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        parent = f"projects/{project}" if project else ""
        question = accounting_service_pb2.ListQueueStatisticsRequest(parent=parent)
        return await _file(identity, _waits(_stub(context()), file), _within(question, asked))

    @router.get("/projects/{project}/capacity-usage.csv", response_class=StreamingResponse, responses=CSV)
    async def of_project(request: Request, project: str, asked: Annotated[Asked, Query()]) -> StreamingResponse:
        return await usage_file(request, asked, project, f"capacity-usage-{project}")

    @router.get("/capacity-usage.csv", response_class=StreamingResponse, responses=CSV)
    async def of_all(request: Request, asked: Annotated[Asked, Query()]) -> StreamingResponse:
        return await usage_file(request, asked, None, "capacity-usage-all")

    @router.get("/projects/{project}/queue-statistics.csv", response_class=StreamingResponse, responses=CSV)
    async def waits_of_project(request: Request, project: str, asked: Annotated[Within, Query()]) -> StreamingResponse:
        return await waits_file(request, asked, project, f"queue-statistics-{project}")

    @router.get("/queue-statistics.csv", response_class=StreamingResponse, responses=CSV)
    async def waits_of_all(request: Request, asked: Annotated[Within, Query()]) -> StreamingResponse:
        return await waits_file(request, asked, None, "queue-statistics-all")

    @router.get("/efficiency.csv", response_class=StreamingResponse, responses=CSV)
    async def efficiency(request: Request, asked: Annotated[AskedEfficiency, Query()]) -> StreamingResponse:
        identity = await context().state["identities"].identify(request)
        question = accounting_service_pb2.GetEfficiencyRequest(
            by=accounting_service_pb2.GetEfficiencyRequest.By.Value(asked.by), order_by=asked.order_by
        )
        return await _file(identity, _efficiency(_stub(context()), asked.by), _within(question, asked))

    return router


def _stub(context: Context) -> Any:
    return context.clients.stub(AccountingServiceStub)


def _within(question: Any, asked: Within) -> Any:
    """All pages are of one period, also where that is to last until now."""
    end = asked.end_time or datetime.now(UTC)
    question.end_time.FromDatetime(end)
    question.start_time.FromDatetime(asked.start_time or end - USUAL)
    question.page_size = PAGE_SIZE
    return question


def _usage(stub: Any, group_by: str, file: str) -> Sheet:
    groups = [group.strip() for group in group_by.split(",") if group.strip()]
    return Sheet(
        file,
        stub.GetUsage,
        [*groups, *MEASURES],
        lambda page: [cells(row, groups) for row in (page.rows if groups else [page.total])],
    )


def _efficiency(stub: Any, by: str) -> Sheet:
    name = by.removeprefix("BY_").lower()
    return Sheet(
        f"efficiency-{name}",
        stub.GetEfficiency,
        [name, *EFFICIENCY],
        lambda page: [[getattr(row, name), *(_figure(row, each) for each in EFFICIENCY)] for row in page.rows],
    )


def _waits(stub: Any, file: str) -> Sheet:
    return Sheet(
        file,
        stub.ListQueueStatistics,
        list(WAITS),
        lambda page: [[_figure(row, each) for each in WAITS] for row in page.queues],
    )


async def _file(identity: Identity, sheet: Sheet, question: Any) -> StreamingResponse:
    """The first page is awaited, so that what is refused is a problem and not a broken file."""
    with acting_as(identity):
        page = await sheet.ask(question)
    begin, end = (f"{time.ToDatetime(UTC):%Y-%m-%d}" for time in (question.start_time, question.end_time))
    headers = {"content-disposition": f'attachment; filename="{sheet.file}-{begin}-{end}.csv"'}
    lines = _lines(identity, sheet, question, page)
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


async def _lines(identity: Identity, sheet: Sheet, question: Any, page: Any) -> AsyncIterator[str]:
    yield MARK + line(sheet.titles)
    for row in sheet.rows(page):
        yield line(row)
    while page.next_page_token:
        question.page_token = page.next_page_token
        with acting_as(identity):
            page = await sheet.ask(question)
        for row in sheet.rows(page):
            yield line(row)


def cells(row: accounting_pb2.CapacityUsageRow, groups: list[str]) -> list[str]:
    """Seconds with milliseconds, US dollars with six digits."""
    seconds = [f"{getattr(row, name):.3f}" for name in MEASURES[:3]]
    counts = [str(row.attempt_count), str(row.preemption_count)]
    return [*(_group(row, group) for group in groups), *seconds, f"{row.cost_microusd / 1e6:.6f}", *counts]


def line(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{value}" if value.startswith(FORMULA) else value for value in values])
    return out.getvalue()


def _group(row: accounting_pb2.CapacityUsageRow, group: str) -> str:
    if group == "day":
        return row.day.ToDatetime(UTC).strftime("%Y-%m-%d")
    return enum_name(row, "kind") if group == "kind" else str(getattr(row, group))


def _figure(row: Any, field: str) -> str:
    """Seconds with milliseconds, shares with six digits, and nothing for what is not known."""
    if row.DESCRIPTOR.fields_by_name[field].has_presence and not row.HasField(field):
        return ""
    value = getattr(row, field)
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if field.endswith("_seconds") else f"{value:.6f}"
