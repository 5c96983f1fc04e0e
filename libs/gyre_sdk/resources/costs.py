"""What was used, what it cost, and what it would cost elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gyre.gpu_scheduler.v1.cost_pb2 import CostReport
from gyre.inference_gateway.v1.usage_pb2 import UsageReport

from gyre_sdk import messages
from gyre_sdk.transport import Transport


class Costs:
    """Of one project. A period that is not given is the last 30 days."""

    def __init__(self, transport: Transport, project: str) -> None:
        self._transport = transport
        self.project = project

    def usage(self, group_by: str = "", start: datetime | None = None, end: datetime | None = None) -> UsageReport:
        """Requests, tokens and money of the OpenAI endpoint. `group_by`: any of day, key, deployment, model, by commas."""
        return messages.parse(UsageReport, self._get("usage", start, end, group_by=group_by))

    def machines(self, start: datetime | None = None, end: datetime | None = None) -> CostReport:
        """What replicas, trainers and jobs held of own machines, by day."""
        return messages.parse(CostReport, self._get("costs", start, end))

    def rent_or_own(self, **asked: Any) -> dict[str, Any]:
        """The same traffic rented and on own machines, as REST tells it; money is in millionths of a US dollar.

        `asked`: days, utilisation (0 to 1), input_tokens and output_tokens of a month in place of the traffic there
        was, input_price_microusd and output_price_microusd of a million tokens, hour_price_microusd and
        tokens_per_second of a machine.
        """
        known = {name: value for name, value in asked.items() if value is not None}
        return self._transport.call("GET", f"/projects/{self.project}/rentOrOwn", query=known)

    def _get(self, what: str, start: datetime | None, end: datetime | None, **query: str) -> dict[str, Any]:
        times = {"start_time": start, "end_time": end}
        asked = {name: time.isoformat() for name, time in times.items() if time is not None}
        asked |= {name: value for name, value in query.items() if value}
        return self._transport.call("GET", f"/projects/{self.project}/{what}", query=asked)
