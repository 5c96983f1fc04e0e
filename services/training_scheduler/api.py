"""Parse, call, render: runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from gyre.training_scheduler.v1 import run_pb2, run_service_pb2
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.training_scheduler import control, creation, estimates, fork, pace, service, store
from services.training_scheduler.models import Alarm, Checkpoint, MetricPoint, Run

POINTS_AN_UPDATE = 1000
PACE_POINTS = 50  # of which the variation of the speed is read


class RunApi(RunServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateRun(self, request: run_service_pb2.CreateRunRequest, _: Any) -> run_pb2.Run:
        run = await creation.create_run(
            self.context,
            project_of(request.parent),
            request.spec,
            display_name=request.display_name,
            request_id=request.request_id,
            pipeline=request.pipeline,
        )
        return self._render(run)

    async def EstimateRun(self, request: run_service_pb2.EstimateRunRequest, _: Any) -> run_pb2.Estimate:
        planned = await creation.plan_run(self.context, request.spec)
        return estimates.to_proto(planned.plan, planned.outlook)

    async def GetRun(self, request: run_service_pb2.GetRunRequest, _: Any) -> run_pb2.Run:
        async with self.db.transaction() as session:
            run = await resources.get(session, Run, request.name)
            return self._render(run, await store.latest_points(session, run, PACE_POINTS))

    async def ListRuns(self, request: run_service_pb2.ListRunsRequest, _: Any) -> run_service_pb2.ListRunsResponse:
        async with self.db.transaction() as session:
            found = await store.run_page(session, request)
        return run_service_pb2.ListRunsResponse(
            runs=[self._render(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelRun(self, request: run_service_pb2.CancelRunRequest, _: Any) -> run_pb2.Run:
        async with self.db.transaction() as session:
            run = await service.cancel(session, request.name, etag=request.etag)
        self.context.wake()
        return self._render(run)

    async def PauseRun(self, request: run_service_pb2.PauseRunRequest, _: Any) -> run_pb2.Run:
        async with self.db.transaction() as session:
            run = await control.pause(session, request.name, etag=request.etag)
        self.context.wake()
        return self._render(run)

    async def ResumeRun(self, request: run_service_pb2.ResumeRunRequest, _: Any) -> run_pb2.Run:
        async with self.db.transaction() as session:
            run = await control.resume(session, request.name, etag=request.etag)
        self.context.wake()
        return self._render(run)

    async def StopRun(self, request: run_service_pb2.StopRunRequest, _: Any) -> run_pb2.Run:
        async with self.db.transaction() as session:
            run = await control.stop(session, request.name, etag=request.etag)
        self.context.wake()
        return self._render(run)

    async def ForkRun(self, request: run_service_pb2.ForkRunRequest, _: Any) -> run_pb2.Run:
        return self._render(await fork.fork_run(self.context, request))

    async def WatchRun(
        self, request: run_service_pb2.WatchRunRequest, _: Any
    ) -> AsyncIterator[run_service_pb2.RunUpdate]:
        revision, after = 0, request.after_step or -1
        while True:
            async with self.db.transaction() as session:
                run = await resources.get(session, Run, request.name)
                points = await store.points(session, run.name, after_step=after, limit=POINTS_AN_UPDATE)
                latest = await store.latest_points(session, run, PACE_POINTS)
            if run.revision != revision or points:
                update = run_service_pb2.RunUpdate(
                    run=self._render(run, latest), points=[point_to_proto(it) for it in points]
                )
                yield update
            revision, after = run.revision, points[-1].step if points else after
            if run.ended and len(points) < POINTS_AN_UPDATE:
                return
            if len(points) < POINTS_AN_UPDATE:
                await asyncio.sleep(self.context.settings.watch_seconds)

    async def ListMetrics(
        self, request: run_service_pb2.ListMetricsRequest, _: Any
    ) -> run_service_pb2.ListMetricsResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Run, request.parent)
            found = await store.point_page(
                session,
                request.parent,
                after_step=request.after_step,
                page_size=request.page_size,
                page_token=request.page_token,
            )
        return run_service_pb2.ListMetricsResponse(
            points=[point_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListCheckpoints(
        self, request: run_service_pb2.ListCheckpointsRequest, _: Any
    ) -> run_service_pb2.ListCheckpointsResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Run, request.parent)
            found = await store.checkpoint_page(
                session, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        return run_service_pb2.ListCheckpointsResponse(
            checkpoints=[checkpoint_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListAlarms(
        self, request: run_service_pb2.ListAlarmsRequest, _: Any
    ) -> run_service_pb2.ListAlarmsResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Run, request.parent)
            found = await store.alarm_page(
                session, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        return run_service_pb2.ListAlarmsResponse(
            alarms=[alarm_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListSamples(
        self, request: run_service_pb2.ListSamplesRequest, _: Any
    ) -> run_service_pb2.ListSamplesResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Run, request.parent)
            found = await store.sample_page(
                session, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        return run_service_pb2.ListSamplesResponse(
            samples=[render(row, run_pb2.Sample) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    def _render(self, run: Run, latest: Sequence[MetricPoint] = ()) -> run_pb2.Run:
        return to_proto(run, self.context, latest)


def to_proto(run: Run, context: Context, latest: Sequence[MetricPoint] = ()) -> run_pb2.Run:
    """`latest` points, newest first, bound the remaining time."""
    left = pace.remaining(run, context.clock.now(), latest)
    return render(
        run,
        run_pb2.Run,
        spec=creation.spec_to_proto(run.spec),
        inputs=_inputs(run),
        eta=_duration(left.expected if left else None),
        eta_low=_duration(left.low if left else None),
        eta_high=_duration(left.high if left else None),
        expected_cost_microusd=pace.expected_cost_microusd(run, left),
        model_flops_utilisation=pace.model_flops_utilisation(run),
    )


def _inputs(run: Run) -> list[dict[str, Any]]:
    """As RunInput has them: what the names of its spec stood for."""
    stored, named = run.inputs, run.spec
    found = [{"role": "BASE", "name": run.base, **stored["base"]}]
    if stored.get("reward_model"):
        found.append({"role": "REWARD_MODEL", "name": named["reward_model"], **stored["reward_model"]})
    rows = zip(named["datasets"], stored["data"], strict=True)
    return found + [{"role": "DATA", "name": name, **file} for name, file in rows]


def _duration(given: timedelta | None) -> Duration | None:
    if given is None:
        return None
    duration = Duration()
    duration.FromTimedelta(given)
    return duration


def point_to_proto(point: MetricPoint) -> run_pb2.MetricPoint:
    return render(point, run_pb2.MetricPoint)


def alarm_to_proto(alarm: Alarm) -> run_pb2.Alarm:
    return render(alarm, run_pb2.Alarm)


def checkpoint_to_proto(checkpoint: Checkpoint) -> run_pb2.Checkpoint:
    return render(checkpoint, run_pb2.Checkpoint)
