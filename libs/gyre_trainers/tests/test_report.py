"""A step waits for nobody: what is told of it goes out by another thread, many steps in one call."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from gyre.training_scheduler.v1 import run_report_service_pb2 as messages
from gyre.training_scheduler.v1 import run_report_service_pb2_grpc as rpc
from gyre_trainers.report import POINTS_A_CALL, Reporter
from gyre_trainers.spec import Spec

STEPS = 1200


class SlowScheduler(rpc.RunReportServiceServicer):
    """Answers no heartbeat before it is told to."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.points: list[int] = []
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def Heartbeat(self, request: Any, context: Any) -> Any:
        self.calls["Heartbeat"] += 1
        self.asked.set()
        self.may_answer.wait(60)
        return messages.HeartbeatResponse()

    def ReportMetrics(self, request: Any, context: Any) -> Any:
        self.calls["ReportMetrics"] += 1
        self.points += [point.step for point in request.points]
        return empty_pb2.Empty()


@pytest.fixture
def slow() -> Iterator[tuple[SlowScheduler, str]]:
    scheduler, server = SlowScheduler(), grpc.server(futures.ThreadPoolExecutor(4))
    rpc.add_RunReportServiceServicer_to_server(scheduler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield scheduler, f"127.0.0.1:{port}"
    scheduler.may_answer.set()
    server.stop(None).wait(10)


def test_steps_go_on_while_a_call_is_unanswered_and_then_go_out_together(
    slow: tuple[SlowScheduler, str], specs: Callable[..., Path]
) -> None:
    scheduler, address = slow
    reporter = Reporter(Spec.model_validate_json(specs("told", "SFT", report_address=address).read_bytes()))
    reporter.start()
    assert scheduler.asked.wait(30)
    for step in range(1, STEPS + 1):  # none of these returns late, or the test would: nobody answers yet
        reporter.progress(step, STEPS)
        reporter.metrics(step, {"loss": 1.0, "grad_norm": float("nan")})
    assert scheduler.calls == {"Heartbeat": 1}
    scheduler.may_answer.set()
    reporter.close()
    assert scheduler.points == list(range(1, STEPS + 1))
    assert scheduler.calls["ReportMetrics"] == -(-STEPS // POINTS_A_CALL)
