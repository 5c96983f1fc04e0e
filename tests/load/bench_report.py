"""What telling of a step costs the trainer, beside what a step takes.

    python tests/load/bench_report.py [--steps 1000]

Each step ends as in a run: speed and memory are read, health is watched, and a heartbeat and the step's point are sent to
a scheduler in another process, one call each. A run sends them once a second, with all points since: steps shorter than a
second cost less than this. The steps are those of SmolLM2-135M in docs/benchmarks/planner.json. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent import futures
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]
ROWS = ROOT / "docs" / "benchmarks" / "planner.json"
LOGGED = {
    "loss": 1.2,
    "grad_norm": 0.8,
    "learning_rate": 1e-4,
    "mean_token_accuracy": 0.7,
    "entropy": 1.1,
    "epoch": 1.0,
}
TOKENS_A_STEP = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    multiprocessing.set_start_method("spawn")  # gRPC does not survive a fork
    here, there = multiprocessing.Pipe()
    listener = multiprocessing.Process(target=listen, args=(there,), daemon=True)
    listener.start()
    try:
        cpu, blocked = measure(here.recv(), steps)
    finally:
        here.send("enough")
        listener.join(10)
    print(f"one report: {cpu * 1e3:.2f} ms of CPU, of which the training thread waits for {blocked * 1e3:.2f} ms")
    for method, shortest in sorted(shortest_steps().items()):
        print(f"{method}: shortest step {shortest:.2f} s, its report {cpu / shortest:.3%} of it")


def listen(pipe: Connection) -> None:
    """A scheduler that takes everything, until told that it is enough."""
    import grpc
    from google.protobuf import empty_pb2
    from gyre.training_scheduler.v1 import run_report_service_pb2 as messages
    from gyre.training_scheduler.v1 import run_report_service_pb2_grpc as rpc

    class Listener(rpc.RunReportServiceServicer):
        def Heartbeat(self, request: Any, context: Any) -> Any:
            return messages.HeartbeatResponse(command=messages.HeartbeatResponse.COMMAND_CONTINUE)

        def ReportMetrics(self, request: Any, context: Any) -> Any:
            return empty_pb2.Empty()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    rpc.add_RunReportServiceServicer_to_server(Listener(), server)
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    pipe.recv()
    server.stop(None)


def measure(port: int, steps: int) -> tuple[float, float]:
    """CPU seconds of all threads for a step's report, and seconds of the thread that trains."""
    from gyre_kit.storage import ObjectStore
    from gyre_trainers.callbacks import Progress
    from gyre_trainers.report import Reporter
    from gyre_trainers.spec import Spec
    from transformers import TrainerControl, TrainerState

    with tempfile.TemporaryDirectory() as folder:
        spec = Spec.model_validate(
            {
                "run": "projects/bench/runs/1",
                "attempt": 1,
                "method": "SFT",
                "base": {"uri": "gyre://base"},
                "data": [{"uri": "gyre://rows"}],
                "output_prefix": "runs/1/1",
                "object_store": f"file://{folder}",
                "report_address": f"127.0.0.1:{port}",
                "credential_file": f"{folder}/credential",
                "hyperparameters": {"checkpoint_every": 10**6},
            }
        )
        reporter = Reporter(spec)  # not started: the calls are made below, one by one
        progress = Progress(spec, ObjectStore.from_url(spec.object_store), reporter, 0)
        state, control = TrainerState(max_steps=steps + 1), TrainerControl()
        spent = blocked = 0.0
        for step in range(-20, steps):  # the first ones connect
            state.global_step = max(1, step + 1)
            begun, began = time.process_time(), time.perf_counter()
            logs = {**LOGGED, "num_tokens": float((step + 21) * TOKENS_A_STEP)}
            progress.on_log(SimpleNamespace(output_dir=folder), state, control, logs)
            progress.on_step_end(None, state, control)
            waited = time.perf_counter() - began
            reporter._beat()
            reporter._flush()
            if step >= 0:
                spent, blocked = spent + time.process_time() - begun, blocked + waited
        reporter.close()
    return spent / steps, blocked / steps


def shortest_steps() -> dict[str, float]:
    """Seconds of SmolLM2-135M's shortest measured step, by method."""
    rows = [row for row in json.loads(ROWS.read_text()) if not row["shape"] and row.get("step_seconds")]
    return {method: min(min(row["step_seconds"]) for row in rows if row["method"] == method)
            for method in {row["method"] for row in rows}}  # fmt: skip


if __name__ == "__main__":
    main()
