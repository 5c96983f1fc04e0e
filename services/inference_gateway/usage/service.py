"""Use cases: what was used over time, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gyre.inference_gateway.v1 import usage_pb2
from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.names import project_of
from gyre_kit.periods import Period

from services.inference_gateway import store
from services.inference_gateway.models.usage import Usage
from services.inference_gateway.proxy.allowance import PICO_IN_MICRO
from services.inference_gateway.proxy.usage import UsageLine

GROUPS = {
    "day": ("day",),
    "key": ("api_key",),
    "deployment": ("deployment",),
    "model": ("model_version", "upstream_model"),
}
# A segment that is shipped again comes after a crash, within this time.
REMEMBERED = timedelta(days=30)


class UnknownGroup(Invalid):
    """Usage is grouped by day, key, deployment and model."""


async def keep(session: Session, segment: str, lines: Sequence[UsageLine]) -> bool:
    """Stores a segment of the data plane, once; False where it was stored before."""
    if not await store.is_new_segment(session, segment, session.clock.now(), REMEMBERED):
        return False
    rows: dict[tuple[Any, ...], Usage] = {}
    for line in lines:
        row = _row(line)
        known = rows.setdefault((row.hour, row.project, row.api_key, row.deployment, row.target), row)
        if known is not row:
            known.request_count += row.request_count
            known.prompt_tokens += row.prompt_tokens
            known.completion_tokens += row.completion_tokens
            known.cost_picousd += row.cost_picousd
    # In one order everywhere: two segments at once must not wait for each other.
    if rows:
        await store.add_usage(session, [rows[key] for key in sorted(rows)])
    return True


async def report(session: Session, name: str, period: Period, group_by: str) -> usage_pb2.UsageReport:
    """Raises: UnknownGroup."""
    columns = _columns(group_by)
    sums = await store.usage_sums(session, project_of(name), period, columns)
    rows = sorted((_shown(columns, each) for each in sums), key=lambda row: (row.day.seconds, -row.cost_microusd))
    reply = usage_pb2.UsageReport(name=name, rows=rows if columns else [])
    reply.start_time.FromDatetime(period.start)
    reply.end_time.FromDatetime(period.end)
    for number in ("request_count", "prompt_tokens", "completion_tokens"):
        setattr(reply.total, number, sum(getattr(row, number) for row in rows))
    reply.total.cost_microusd = int(sum(each[-1] for each in sums)) // PICO_IN_MICRO
    return reply


def _columns(group_by: str) -> list[str]:
    wanted = [each.strip() for each in group_by.split(",") if each.strip()]
    if unknown := [each for each in wanted if each not in GROUPS]:
        raise UnknownGroup(field="group_by", given=unknown[0][:80], allowed="|".join(GROUPS))
    return [column for group in dict.fromkeys(wanted) for column in GROUPS[group]]


def _row(line: UsageLine) -> Usage:
    return Usage(
        hour=datetime.fromtimestamp(line.hour, UTC),
        project=line.project,
        api_key=line.api_key,
        deployment=line.deployment,
        target=line.target,
        model_version=line.model_version,
        upstream_model=line.upstream_model,
        request_count=line.request_count,
        prompt_tokens=line.prompt_tokens,
        completion_tokens=line.completion_tokens,
        cost_picousd=Decimal(line.cost_picousd),
    )


def _shown(columns: Sequence[str], sums: Sequence[Any]) -> usage_pb2.UsageRow:
    *groups, requests, prompt, completion, picousd = sums
    row = usage_pb2.UsageRow(
        request_count=int(requests),
        prompt_tokens=int(prompt),
        completion_tokens=int(completion),
        cost_microusd=int(picousd) // PICO_IN_MICRO,
    )
    for column, value in zip(columns, groups, strict=True):
        if column == "day":
            row.day.FromDatetime(value)
        else:
            setattr(row, column, value)
    return row
