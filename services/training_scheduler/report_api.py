"""Parse, call, render: what a trainer reports. Only a worker's token for the very run and attempt opens these calls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from google.protobuf.empty_pb2 import Empty
from gyre.training_scheduler.v1 import run_pb2, run_report_service_pb2
from gyre.training_scheduler.v1.run_report_service_pb2_grpc import RunReportServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.render import enum_name
from gyre_kit.storage import key_of

from services.training_scheduler import metrics, outputs, reports
from services.training_scheduler.api import alarm_to_proto, checkpoint_to_proto, to_proto
from services.training_scheduler.models import Run, RunState

TOKEN_SECONDS = 900
Command = run_report_service_pb2.HeartbeatResponse.Command


class RunReportApi(RunReportServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def Heartbeat(
        self, request: run_report_service_pb2.HeartbeatRequest, call: Any
    ) -> run_report_service_pb2.HeartbeatResponse:
        async with self.db.transaction() as session:
            run = await reports.heartbeat(
                session,
                request.name,
                request.attempt,
                step=request.step,
                total_steps=request.total_steps,
                resumed_from_step=request.resumed_from_step,
                by=caller(),
            )
        return run_report_service_pb2.HeartbeatResponse(command=_command(run), token=self._next_token(call))

    async def ReportMetrics(self, request: run_report_service_pb2.ReportMetricsRequest, _: Any) -> Empty:
        points = [(it.step, _time_of(it), dict(it.metrics)) for it in request.points]
        async with self.db.transaction() as session:
            await reports.report_metrics(session, request.name, request.attempt, points, by=caller())
        return Empty()

    async def ReportCheckpoint(
        self, request: run_report_service_pb2.ReportCheckpointRequest, _: Any
    ) -> run_pb2.Checkpoint:
        async with self.db.transaction() as session:
            checkpoint = await reports.report_checkpoint(
                session,
                request.name,
                request.attempt,
                step=request.step,
                uri=request.uri,
                digest=request.digest,
                size_bytes=request.size_bytes,
                kept_steps=request.kept_steps,
                by=caller(),
            )
        return checkpoint_to_proto(checkpoint)

    async def ReportAlarm(self, request: run_report_service_pb2.ReportAlarmRequest, _: Any) -> run_pb2.Alarm:
        async with self.db.transaction() as session:
            alarm, is_new = await reports.report_alarm(
                session,
                request.name,
                request.attempt,
                step=request.step,
                kind=enum_name(request, "kind"),
                action=enum_name(request, "action"),
                values=dict(request.values),
                detail=request.detail,
                by=caller(),
            )
        if is_new:
            self.context.state[metrics.COUNTERS].alarm(alarm.kind, alarm.action)
        return alarm_to_proto(alarm)

    async def ReportSample(self, request: run_report_service_pb2.ReportSampleRequest, _: Any) -> Empty:
        texts = {"prompt": request.prompt, "expected": request.expected, "answer": request.answer}
        async with self.db.transaction() as session:
            await reports.report_sample(
                session,
                request.name,
                request.attempt,
                step=request.step,
                number=request.number,
                texts=texts,
                by=caller(),
            )
        return Empty()

    async def CompleteRun(self, request: run_report_service_pb2.CompleteRunRequest, _: Any) -> run_pb2.Run:
        await self._check_manifest(request)
        async with self.db.transaction() as session:
            run = await reports.complete(
                session,
                request.name,
                request.attempt,
                digest=request.manifest_digest,
                steps=request.steps,
                metrics=dict(request.metrics),
                by=caller(),
            )
        return to_proto(run, self.context)

    async def _check_manifest(self, request: run_report_service_pb2.CompleteRunRequest) -> None:
        """Raises: WrongRun; ManifestOutsidePrefix; ManifestMissing; DigestMismatch."""
        reports.check_token(request.name, request.attempt, caller())
        async with self.db.transaction() as session:
            run = await resources.get(session, Run, request.name)
        reports.check_prefix(run, request.attempt, request.manifest_uri)
        digest = await outputs.digest_in_store(self.context.store, key_of(request.manifest_uri))
        if not digest:
            raise reports.ManifestMissing(uri=request.manifest_uri)
        if digest != request.manifest_digest:
            raise reports.DigestMismatch(uri=request.manifest_uri, reported=request.manifest_digest, found=digest)

    def _next_token(self, call: Any) -> str:
        """The signer keeps a token until a minute before it expires: the trainer gets each new one once."""
        token = self.context.signer.token(replace(caller(), service=""), TOKEN_SECONDS)
        presented = dict(call.invocation_metadata() or ()).get("authorization", "")
        return "" if presented == f"Bearer {token}" else token


def _command(run: Run) -> Command.ValueType:
    """A trainer that is to pause is asked by its launcher's signal, as at any preemption."""
    if reports.must_stop(run):
        return Command.COMMAND_STOP
    return Command.COMMAND_FINISH if run.state == RunState.STOPPING else Command.COMMAND_CONTINUE


def _time_of(point: run_pb2.MetricPoint) -> datetime:
    return point.time.ToDatetime(UTC) if point.HasField("time") else datetime.now(UTC)
