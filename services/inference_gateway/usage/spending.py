"""What was spent of budgets, read from the ledger that the data plane's workers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gyre.inference_gateway.v1 import spending_pb2
from gyre_kit.render import render

from services.inference_gateway.models.usage import SentOut
from services.inference_gateway.proxy.allowance import FOR_EVER, PICO_IN_MICRO, SECOND_NS, Limits
from services.inference_gateway.proxy.ledger import Ledger


def of_project(
    ledger: Ledger, project: str, limits: Limits, keys: Mapping[str, Limits], sent_out: Sequence[SentOut] = ()
) -> spending_pb2.ProjectSpending:
    """`keys`: limits by resource name. Those that nobody used are left out. `sent_out`: what left own hardware."""
    with ledger.locked():
        asked = {f"projects/{project}": limits, **keys}
        found = [(name, ledger.look_up(name)) for name in asked]
        now = ledger.now()
        shown = [
            _spending(ledger, name, asked[name], position, now) for name, position in found if position is not None
        ]
    reply = spending_pb2.ProjectSpending(name=f"projects/{project}/spending")
    reply.project.name = f"projects/{project}"
    reply.sent_out.extend(render(row, spending_pb2.SentOut) for row in sent_out)
    reply.project.budget_tokens, reply.project.budget_microusd = limits.budget_tokens, limits.budget_microusd
    for each in shown:
        if each.name == reply.project.name:
            reply.project.CopyFrom(each)
        else:
            reply.keys.append(each)
    return reply


def _spending(ledger: Ledger, name: str, limits: Limits, position: int, now: int) -> spending_pb2.Spending:
    account = ledger.read(position)
    spending = spending_pb2.Spending(
        name=name,
        reserved_tokens=account.reserved_tokens,
        reserved_microusd=account.reserved_picousd // PICO_IN_MICRO,
        running_request_count=account.running,
        budget_tokens=limits.budget_tokens,
        budget_microusd=limits.budget_microusd,
    )
    if now >= account.period_end:  # what it says is of an earlier period
        return spending
    spending.request_count = account.requests
    spending.tokens = account.spent_tokens
    spending.cost_microusd = account.spent_picousd // PICO_IN_MICRO
    if account.period_end < FOR_EVER:
        spending.period_end_time.FromSeconds(account.period_end // SECOND_NS)
    return spending
