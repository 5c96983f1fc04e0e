"""A scheduler that only listens, a tiny model, rows, and trainers as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import empty_pb2
from gyre.training_scheduler.v1 import run_pb2
from gyre.training_scheduler.v1 import run_report_service_pb2 as messages
from gyre.training_scheduler.v1 import run_report_service_pb2_grpc as rpc
from gyre_trainers import manifest

LIBS = Path(__file__).resolve().parents[2]
SECONDS = 120.0
Command = messages.HeartbeatResponse.Command


class ListeningScheduler(rpc.RunReportServiceServicer):
    """Keeps what trainers report, by run. `commands` is answered to the next heartbeat of a run, once."""

    def __init__(self) -> None:
        self.points: dict[str, dict[int, dict[str, float]]] = {}
        self.checkpoints: dict[str, list[messages.ReportCheckpointRequest]] = {}
        self.alarms: dict[str, list[messages.ReportAlarmRequest]] = {}
        self.samples: dict[str, list[messages.ReportSampleRequest]] = {}
        self.completed: dict[str, messages.CompleteRunRequest] = {}
        self.beats: dict[str, list[messages.HeartbeatRequest]] = {}
        self.tokens: dict[str, list[str]] = {}
        self.highest: dict[str, int] = {}
        self.commands: dict[str, int] = {}
        self.renewals: dict[str, str] = {}
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = grpc.aio.server()
        rpc.add_RunReportServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)

    async def _fence(self, request: Any, context: Any) -> None:
        self.tokens.setdefault(request.name, []).append(dict(context.invocation_metadata())["authorization"])
        self.highest[request.name] = max(request.attempt, self.highest.get(request.name, 0))
        if request.attempt < self.highest[request.name]:
            await context.abort(grpc.StatusCode.ABORTED, "a newer attempt runs")

    async def Heartbeat(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        self.beats.setdefault(request.name, []).append(request)
        command = self.commands.pop(request.name, Command.COMMAND_CONTINUE)
        return messages.HeartbeatResponse(command=command, token=self.renewals.pop(request.name, ""))

    async def ReportMetrics(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        for point in request.points:
            self.points.setdefault(request.name, {})[point.step] = dict(point.metrics)
        return empty_pb2.Empty()

    async def ReportCheckpoint(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        self.checkpoints.setdefault(request.name, []).append(request)
        return run_pb2.Checkpoint()

    async def ReportAlarm(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        self.alarms.setdefault(request.name, []).append(request)
        return run_pb2.Alarm()

    async def ReportSample(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        self.samples.setdefault(request.name, []).append(request)
        return empty_pb2.Empty()

    async def CompleteRun(self, request: Any, context: Any) -> Any:
        await self._fence(request, context)
        self.completed[request.name] = request
        return run_pb2.Run()

    def curve(self, run: str, metric: str) -> list[float]:
        """Values in step order."""
        return [values[metric] for _, values in sorted(self.points[run].items()) if metric in values]


@dataclass
class Running:
    """A trainer that was started. `code` is set when it has ended."""

    pid: int
    log: Path
    ended: asyncio.Future[int]

    async def code(self) -> int:
        return await asyncio.wait_for(asyncio.shield(self.ended), SECONDS)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass
class Zygote:
    process: asyncio.subprocess.Process
    waiting: dict[str, asyncio.Future[int]] = field(default_factory=dict)
    ended: dict[str, asyncio.Future[int]] = field(default_factory=dict)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "pid" in message:
                self.waiting[message["id"]].set_result(message["pid"])
            elif "code" in message:
                self.ended[message["id"]].set_result(message["code"])

    async def fork(self, spec: Path, log: Path, **wishes: Any) -> Running:
        loop = asyncio.get_running_loop()
        name = str(len(self.ended))
        self.waiting[name], self.ended[name] = loop.create_future(), loop.create_future()
        assert self.process.stdin is not None
        self.process.stdin.write(
            (json.dumps({"id": name, "spec": str(spec), "log": str(log), **wishes}) + "\n").encode()
        )
        return Running(await asyncio.wait_for(self.waiting[name], SECONDS), log, self.ended[name])


@pytest.fixture(scope="session")
async def zygote() -> AsyncIterator[Zygote]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("zygote.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    found = Zygote(process)
    listening = asyncio.create_task(found.listen())
    yield found
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
    listening.cancel()


def environment() -> dict[str, str]:
    paths = [str(LIBS), str(LIBS.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "TRL_EXPERIMENTAL_SILENCE": "1"}


@pytest.fixture(scope="session")
async def scheduler() -> AsyncIterator[ListeningScheduler]:
    found = ListeningScheduler()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


DEPARTMENTS = ["roads", "water", "parks", "waste"]


def answer(department: str) -> dict[str, str]:
    return {"role": "assistant", "content": json.dumps({"department": department, "reply": "We will look at it."})}


def conversation(seed: int) -> list[dict[str, str]]:
    department = DEPARTMENTS[seed % len(DEPARTMENTS)]
    street = random.Random(seed).choice(["Mill Road", "Main Street", "the old bridge", "7 King Square"])
    return [{"role": "user", "content": f"Something about {department} at {street}"}, answer(department)]


def messages_rows(count: int) -> list[dict[str, Any]]:
    return [{"id": str(at), "messages": conversation(at)} for at in range(count)]


def preference_rows(count: int) -> list[dict[str, Any]]:
    rows = []
    for at in range(count):
        question, good = conversation(at)
        bad = {"role": "assistant", "content": f"I cannot help you with {DEPARTMENTS[at % 3]}, call again."}
        rows.append({"id": str(at), "prompt": [question], "chosen": [good], "rejected": [bad]})
    return rows


@pytest.fixture(scope="session")
def data(objects: Path) -> dict[str, dict[str, Any]]:
    """`data` entries of a spec: SFT and PREFERENCE."""
    return {
        "SFT": data_file(objects, "dataset/acme/hotline/1/train.parquet", messages_rows(48)),
        "PREFERENCE": data_file(objects, "dataset/acme/pairs/1/train.parquet", preference_rows(32)),
    }


def data_file(objects: Path, key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = objects / key
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return {"uri": f"gyre://{key}", "digest": f"sha256:{manifest.sha256(path)}", "rows": len(rows)}


@pytest.fixture(scope="session")
def base(objects: Path) -> dict[str, str]:
    """The `base` entry of a spec: a tiny random Llama with a manifest."""
    from gyre_trainers import testing

    folder = testing.tiny_llama(objects / "registry" / "tiny", testing.texts_of(preference_rows(16)), vocabulary=512)
    return {"uri": "gyre://registry/tiny", "digest": manifest.write(folder, {"kind": "model"})}


Launch = Callable[..., Awaitable[Running]]


@pytest.fixture(scope="session")
def specs(
    objects: Path,
    scheduler: ListeningScheduler,
    data: dict[str, dict[str, Any]],
    base: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Writes a spec.json; keywords replace its fields, `hyperparameters` are added to the test's own."""

    def write(run: str, method: str, *, rows: str = "SFT", attempt: int = 1, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp(run)
        credential = folder / "credential"
        credential.write_text("first-token")
        hyperparameters = {"batch_size": 8, "max_length": 128, "checkpoint_every": 1000, "learning_rate": 5e-3}
        spec = {
            "run": f"projects/acme/runs/{run}",
            "attempt": attempt,
            "method": method,
            "base": base,
            "data": [data[rows]],
            "output_prefix": f"runs/{run}/1",
            "seed": 7,
            "object_store": f"file://{objects}",
            "report_address": f"127.0.0.1:{scheduler.port}",
            "credential_file": str(credential),
            "threads": 1,
            **changes,
        }
        spec["hyperparameters"] = {**hyperparameters, **changes.get("hyperparameters", {})}
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        return path

    return write


@pytest.fixture(scope="session")
def launch(zygote: Zygote) -> Launch:
    async def start(spec: Path, **wishes: Any) -> Running:
        return await zygote.fork(spec, spec.with_name("log"), **wishes)

    return start


@pytest.fixture(scope="session")
def scorer(objects: Path, base: dict[str, str]) -> dict[str, str]:
    """The `reward_model` entry of a spec: the tiny model with an untrained head of one output."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = objects / "registry" / "scorer"
    model = AutoModelForSequenceClassification.from_pretrained(objects / "registry" / "tiny", num_labels=1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(objects / "registry" / "tiny").save_pretrained(folder)
    return {"uri": "gyre://registry/scorer", "digest": manifest.write(folder, {"kind": "model"})}
