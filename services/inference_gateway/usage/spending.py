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
    """`keys`: limits by resource name. `sent_out`: what left own hardware."""
    with ledger.locked():
        asked = {f"projects/{project}": limits, **keys}
        now = ledger.now()
        of_project, *of_keys = [_spending(ledger, name, asked[name], now) for name in asked]
    return spending_pb2.ProjectSpending(
        name=f"projects/{project}/spending",
        project=of_project,
        keys=of_keys,
        sent_out=[render(row, spending_pb2.SentOut) for row in sent_out],
    )


def _spending(ledger: Ledger, name: str, limits: Limits, now: int) -> spending_pb2.Spending:
    spending = spending_pb2.Spending(
        name=name, budget_tokens=limits.budget_tokens, budget_microusd=limits.budget_microusd
    )
    position = ledger.look_up(name)
    if position is None:  # nobody used it yet
        return spending
    account = ledger.read(position)
    spending.reserved_tokens = account.reserved_tokens
    spending.reserved_microusd = account.reserved_picousd // PICO_IN_MICRO
    spending.running_request_count = account.running
    if now >= account.period_end:  # what it says is of an earlier period
        return spending
    spending.request_count = account.requests
    spending.tokens = account.spent_tokens
    spending.cost_microusd = account.spent_picousd // PICO_IN_MICRO
    if account.period_end < FOR_EVER:
        spending.period_end_time.FromSeconds(account.period_end // SECOND_NS)
    return spending
