"""What was spent of budgets, read from the ledger that the data plane's workers share."""

from __future__ import annotations

from collections.abc import Sequence

from gyre.inference_gateway.v1 import spending_pb2
from gyre_kit.render import render

from services.inference_gateway.models import SentOut
from services.inference_gateway.proxy.allowance import FOR_EVER, PICO_IN_MICRO, SECOND_NS
from services.inference_gateway.proxy.ledger import Ledger


def of_project(
    ledger: Ledger, project: str, keys: Sequence[str], sent_out: Sequence[SentOut] = ()
) -> spending_pb2.ProjectSpending:
    """`keys`: resource names. Those that nobody used are left out. `sent_out`: what left own hardware."""
    with ledger.locked():
        found = [(name, ledger.look_up(name)) for name in (f"projects/{project}", *keys)]
        now = ledger.now()
        shown = [_spending(ledger, name, position, now) for name, position in found if position is not None]
    reply = spending_pb2.ProjectSpending(name=f"projects/{project}/spending")
    reply.project.name = f"projects/{project}"
    reply.sent_out.extend(render(row, spending_pb2.SentOut) for row in sent_out)
    for each in shown:
        if each.name == reply.project.name:
            reply.project.CopyFrom(each)
        else:
            reply.keys.append(each)
    return reply


def _spending(ledger: Ledger, name: str, position: int, now: int) -> spending_pb2.Spending:
    account = ledger.read(position)
    spending = spending_pb2.Spending(
        name=name,
        reserved_tokens=account.reserved_tokens,
        reserved_microusd=account.reserved_picousd // PICO_IN_MICRO,
        running_request_count=account.running,
    )
    if now >= account.period_end:  # what it says is of an earlier period
        return spending
    spending.request_count = account.requests
    spending.tokens = account.spent_tokens
    spending.cost_microusd = account.spent_picousd // PICO_IN_MICRO
    if account.period_end < FOR_EVER:
        spending.period_end_time.FromSeconds(account.period_end // SECOND_NS)
    return spending
