"""What was held and what it cost, as a file for spreadsheets: all pages of the report, RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from gyre.gpu_scheduler.v1 import accounting_pb2, accounting_service_pb2
from gyre.gpu_scheduler.v1.accounting_service_pb2_grpc import AccountingServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.render import enum_name
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PAGE_SIZE = 500
MEASURES = ("held_seconds", "core_seconds", "card_seconds", "cost_usd", "attempt_count", "preemption_count")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula (OWASP)
MARK = "\ufeff"  # by it spreadsheets know UTF-8
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


class Asked(BaseModel):
    """As GetUsage takes it, but for pages."""

    model_config = ConfigDict(extra="forbid")

    group_by: str = Field("", max_length=200)
    filter: str = Field("", max_length=1000)
    order_by: str = Field("", max_length=100)
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["gpu_scheduler"])

    @router.get("/projects/{project}/capacity-usage.csv", response_class=StreamingResponse, responses=CSV)
    async def of_project(request: Request, project: str, asked: Annotated[Asked, Query()]) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        return await _file(context(), identity, _question(asked, f"projects/{project}/capacityUsage"), project)

    @router.get("/capacity-usage.csv", response_class=StreamingResponse, responses=CSV)
    async def of_all(request: Request, asked: Annotated[Asked, Query()]) -> StreamingResponse:
        identity = await context().state["identities"].identify(request)
        return await _file(context(), identity, _question(asked, ""), "all")

    return router


def _question(asked: Asked, name: str) -> accounting_service_pb2.GetUsageRequest:
    question = accounting_service_pb2.GetUsageRequest(
        name=name, group_by=asked.group_by, filter=asked.filter, order_by=asked.order_by, page_size=PAGE_SIZE
    )
    for bound in ("start_time", "end_time"):
        if (time := getattr(asked, bound)) is not None:
            getattr(question, bound).FromDatetime(time)
    return question


async def _file(
    context: Context, identity: Identity, question: accounting_service_pb2.GetUsageRequest, of: str
) -> StreamingResponse:
    """The first page is awaited, so that what is refused is a problem and not a broken file."""
    stub = context.clients.stub(AccountingServiceStub)
    with acting_as(identity):
        first = await stub.GetUsage(question)
    begin, end = (time.ToDatetime(UTC).strftime("%Y-%m-%d") for time in (first.start_time, first.end_time))
    # The next pages are of the same period, also if it was to last until now.
    question.start_time.CopyFrom(first.start_time)
    question.end_time.CopyFrom(first.end_time)
    if first.next_page_token:
        with acting_as(identity):
            first = await stub.GetUsage(question)
    headers = {"content-disposition": f'attachment; filename="capacity-usage-{of}-{begin}-{end}.csv"'}
    return StreamingResponse(
        _lines(stub, identity, question, first), headers=headers, media_type="text/csv; charset=utf-8"
    )


async def _lines(
    stub: Any,
    identity: Identity,
    question: accounting_service_pb2.GetUsageRequest,
    page: accounting_pb2.CapacityUsage,
) -> AsyncIterator[str]:
    groups = [group.strip() for group in question.group_by.split(",") if group.strip()]
    yield MARK + line([*groups, *MEASURES])
    for row in page.rows if groups else [page.total]:
        yield line(cells(row, groups))
    while page.next_page_token:
        question.page_token = page.next_page_token
        with acting_as(identity):
            page = await stub.GetUsage(question)
        for row in page.rows:
            yield line(cells(row, groups))


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
