"""Parse, call, render."""

from __future__ import annotations

from typing import Any, Final

from gyre.gpu_scheduler.v1 import simulation_pb2, simulation_service_pb2
from gyre.gpu_scheduler.v1.simulation_service_pb2_grpc import SimulationServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as

from services.gpu_scheduler.simulation import service
from services.gpu_scheduler.simulation.history import Added
from services.gpu_scheduler.simulation.replayer import Replayer

FIELDS: Final = {
    "job_count": "jobs",
    "ended_count": "ended_jobs",
    "refused_count": "refused_jobs",
    "mean_completion_seconds": "mean_jct_s",
    "p50_completion_seconds": "p50_jct_s",
    "p99_completion_seconds": "p99_jct_s",
    "max_completion_seconds": "max_jct_s",
    "mean_wait_seconds": "mean_wait_s",
    "p50_wait_seconds": "p50_wait_s",
    "p99_wait_seconds": "p99_wait_s",
    "makespan_seconds": "makespan_s",
    "utilisation": "utilisation",
    "fragmentation": "fragmentation",
    "jain_index": "jain_index",
    "p99_finish_time_fairness": "p99_finish_time_fairness",
    "preemption_count": "preemptions",
}


class SimulationApi(SimulationServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db
        self.policy: str = context.settings.scheduling_policy
        self.replayer = Replayer(context.settings.what_if_seconds, context.settings.what_if_memory_bytes)

    async def WhatIf(self, request: simulation_service_pb2.WhatIfRequest, _: Any) -> simulation_pb2.WhatIfReport:
        additions = [_added(each) for each in request.additions]
        with acting_as(SYSTEM):  # a queue's wait is made by all projects; sums alone are told
            async with self.db.transaction() as session:
                question = await service.asked(
                    session, additions, request.removals, request.days, request.policy or self.policy
                )
        digest, (before, after) = await self.replayer.reports(question.payload)
        reply = simulation_pb2.WhatIfReport(
            policy=question.policy,
            before=_report(before, question.before),
            after=_report(after, question.after),
            left_out_count=question.history.left_out,
            truncated_count=question.history.truncated,
            added_hour_microusd=question.added_hour_microusd,
            removed_hour_microusd=question.removed_hour_microusd,
            input_digest=digest,
        )
        reply.start_time.FromDatetime(question.period.start)
        reply.end_time.FromDatetime(question.period.end)
        return reply


def _added(given: simulation_pb2.AddedNodes) -> Added:
    return Added(
        given.node_count, given.flavor.removeprefix("flavors/"), given.cards_per_node, given.cpu_milli_per_node
    )


def _report(found: dict[str, Any], fleet: service.Fleet) -> simulation_pb2.SimulationReport:
    figures = {field: found[key] for field, key in FIELDS.items() if found[key] is not None}
    return simulation_pb2.SimulationReport(**figures, node_count=fleet.nodes, hour_microusd=fleet.hour_microusd)
