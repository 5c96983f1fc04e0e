"""What a trainer tells `training_scheduler`, from a thread of its own, so that no step waits for the network.

The scheduler may be away for any time: points are kept and sent when it is back, and training goes on. Only a newer
attempt (ABORTED) ends this process, at once.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from gyre.training_scheduler.v1 import run_pb2
from gyre.training_scheduler.v1 import run_report_service_pb2 as messages
from gyre.training_scheduler.v1.run_report_service_pb2_grpc import RunReportServiceStub

from gyre_trainers import exits
from gyre_trainers.health import Alarm
from gyre_trainers.samples import Sample
from gyre_trainers.spec import Spec

log = logging.getLogger("gyre_trainers.report")

BEAT_SECONDS: Final = 1.0  # the contract is five; one makes the loss curve live and a stop prompt
CALL_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 5.0
COMPLETE_SECONDS: Final = 60.0
POINTS_A_CALL: Final = 500
CHANNEL_OPTIONS: Final = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
]
Command = messages.HeartbeatResponse.Command


@dataclass(frozen=True)
class Saved:
    """A checkpoint whose manifest has been written."""

    step: int
    uri: str
    digest: str
    size_bytes: int
    kept_steps: tuple[int, ...]  # of this attempt, this one among them


class Reporter:
    """Methods return at once, but for `complete` and `close`."""

    def __init__(self, spec: Spec, *, leave: Callable[[int], Any] = os._exit) -> None:
        self.stop_requested = threading.Event()
        self.finish_requested = threading.Event()
        self.checkpoint_requested = threading.Event()
        self._spec, self._leave = spec, leave
        self._points: deque[run_pb2.MetricPoint] = deque()
        self._saved: deque[Saved] = deque()
        self._alarms: deque[Alarm] = deque()
        self._samples: deque[Sample] = deque()
        self._step = self._total_steps = self._resumed_from_step = 0
        self._completed = False
        self._closing = threading.Event()
        self._channel = grpc.insecure_channel(spec.report_address, options=CHANNEL_OPTIONS)
        self._stub = RunReportServiceStub(self._channel)
        self._thread = threading.Thread(target=self._beat_until_closed, name="report", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def progress(self, step: int, total_steps: int, resumed_from_step: int | None = None) -> None:
        self._step, self._total_steps = step, total_steps
        if resumed_from_step is not None:
            self._resumed_from_step = resumed_from_step

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keeps the finite numbers of `values` for the next beat."""
        if numbers := finite(values):
            self._points.append(run_pb2.MetricPoint(step=step, metrics=numbers, time=_now()))

    def saved(self, checkpoint: Saved) -> None:
        self._saved.append(checkpoint)

    def alarm(self, alarm: Alarm) -> None:
        self._alarms.append(alarm)

    def sampled(self, samples: Sequence[Sample]) -> None:
        self._samples.extend(samples)

    def complete(self, uri: str, digest: str, steps: int, metrics: Mapping[str, Any]) -> bool:
        """Tells that the run is done; False if nobody listened for a minute (the manifest itself is what counts).

        Raises: grpc.RpcError if the scheduler refuses the manifest.
        """
        self._stop_beating()
        request = messages.CompleteRunRequest(
            name=self._spec.run,
            attempt=self._spec.attempt,
            manifest_uri=uri,
            manifest_digest=digest,
            steps=steps,
            metrics=finite(metrics),
        )
        deadline = time.monotonic() + COMPLETE_SECONDS
        pause = 0.2
        while True:
            try:
                self._beat()  # a short run may have had none since it knew where it went on from
                self._flush()
                self._call(self._stub.CompleteRun, request)
                self._completed = True
                return True
            except grpc.RpcError as error:
                self._leave_if_superseded(error)
                if error.code() in REFUSALS:
                    raise
                if time.monotonic() + pause > deadline:
                    log.warning("nobody took the completion: %s", error.code().name)
                    return False
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Sends what is left, once, and closes."""
        self._stop_beating()
        try:
            if not self._completed:
                self._beat()  # with the last step
                self._flush()
        except grpc.RpcError as error:
            self._leave_if_superseded(error)
            log.warning("%d points were not reported: %s", len(self._points), error.code().name)
        self._channel.close()

    def _stop_beating(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _beat_until_closed(self) -> None:
        pause = BEAT_SECONDS
        while not self._closing.is_set():
            try:
                self._beat()
                self._flush()
                pause = BEAT_SECONDS
            except grpc.RpcError as error:
                self._leave_if_superseded(error)
                log.warning("the scheduler does not answer (%s); training goes on", error.code().name)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except OSError as error:
                log.warning("the credential cannot be renewed: %s", error)
            self._closing.wait(pause)

    def _beat(self) -> None:
        reply = self._call(
            self._stub.Heartbeat,
            messages.HeartbeatRequest(
                name=self._spec.run,
                attempt=self._spec.attempt,
                step=self._step,
                total_steps=self._total_steps,
                resumed_from_step=self._resumed_from_step,
            ),
        )
        if reply.token:
            write_credential(self._spec.credential_file, reply.token)
        if reply.command == Command.COMMAND_CHECKPOINT:
            self.checkpoint_requested.set()
        elif reply.command == Command.COMMAND_STOP:
            self.stop_requested.set()
        elif reply.command == Command.COMMAND_FINISH:
            self.finish_requested.set()

    def _flush(self) -> None:
        """Sends all points, checkpoints, alarms and samples in order; those of a call that failed are kept, those refused
        are not."""
        while self._points:
            batch = [self._points[at] for at in range(min(len(self._points), POINTS_A_CALL))]
            request = messages.ReportMetricsRequest(name=self._spec.run, attempt=self._spec.attempt, points=batch)
            self._send(self._stub.ReportMetrics, request)
            for _ in batch:
                self._points.popleft()
        while self._saved:
            self._send(self._stub.ReportCheckpoint, self._checkpoint_request(self._saved[0]))
            self._saved.popleft()
        while self._alarms:
            self._send(self._stub.ReportAlarm, self._alarm_request(self._alarms[0]))
            self._alarms.popleft()
        while self._samples:
            self._send(self._stub.ReportSample, self._sample_request(self._samples[0]))
            self._samples.popleft()

    def _send(self, method: Callable[..., Any], request: Any) -> None:
        """A report that the scheduler will never take must not hold up those behind it."""
        try:
            self._call(method, request)
        except grpc.RpcError as error:
            if error.code() not in REFUSALS:
                raise
            log.error("a report was refused: %s", error.details())

    def _checkpoint_request(self, saved: Saved) -> messages.ReportCheckpointRequest:
        return messages.ReportCheckpointRequest(
            name=self._spec.run,
            attempt=self._spec.attempt,
            step=saved.step,
            uri=saved.uri,
            digest=saved.digest,
            size_bytes=saved.size_bytes,
            kept_steps=saved.kept_steps,
        )

    def _alarm_request(self, alarm: Alarm) -> messages.ReportAlarmRequest:
        return messages.ReportAlarmRequest(
            name=self._spec.run,
            attempt=self._spec.attempt,
            step=alarm.step,
            kind=run_pb2.Alarm.Kind.Value(f"KIND_{alarm.kind}"),
            action=run_pb2.Alarm.Action.Value(f"ACTION_{alarm.action}"),
            values=finite(alarm.values),
            detail=alarm.detail,
        )

    def _sample_request(self, sample: Sample) -> messages.ReportSampleRequest:
        return messages.ReportSampleRequest(
            name=self._spec.run,
            attempt=self._spec.attempt,
            step=sample.step,
            number=sample.number,
            prompt=sample.prompt,
            expected=sample.expected,
            answer=sample.answer,
        )

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        """One call with a deadline and the credential as it is now: a heartbeat's reply may have renewed it."""
        metadata = [("authorization", f"Bearer {read_credential(self._spec.credential_file)}")]
        if trace := os.environ.get("TRACEPARENT"):  # from the launcher: the run's trace goes on here
            metadata.append(("traceparent", trace))
        return method(request, timeout=CALL_SECONDS, metadata=metadata)

    def _leave_if_superseded(self, error: grpc.RpcError) -> None:
        if error.code() == grpc.StatusCode.ABORTED:
            log.error("a newer attempt owns %s: leaving", self._spec.run)
            self._leave(exits.SUPERSEDED)


REFUSALS: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION})


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `values`."""
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def read_credential(path: Path) -> str:
    """Empty where there is none yet: the scheduler then says UNAUTHENTICATED, and the next call tries again."""
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


def write_credential(path: Path, token: str) -> None:
    """Replaces the credential in one rename; only its owner can read it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token)
    os.replace(partial, path)


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp
