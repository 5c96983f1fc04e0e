"""A gateway in this process for each test, and one real engine for all of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.inference_gateway.proxy.control import ControlClient, ControlServer, FeedbackCall, SpansCall
from services.inference_gateway.proxy.gateway import Gateway
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.metrics import Metrics
from services.inference_gateway.proxy.records import Spool
from services.inference_gateway.proxy.server import Server, bind
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import Deployment
from services.inference_gateway.proxy.tests.bert import tiny_bert
from services.inference_gateway.proxy.tests.support import Running, eventually, free_port, model_file, snapshot_of

Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(deployment(…), setting=value, …)` → Running."""
    async with AsyncExitStack() as stack:

        async def start_gateway(
            *deployments: Deployment, consent: bool = True, exporter: Any = None, **settings: Any
        ) -> Running:
            chosen = ProxySettings(**({"sweep_seconds": 0.02} | settings))
            metrics = Metrics()
            (spool := tmp_path / f"spool{len(list(tmp_path.iterdir()))}").mkdir()
            records = Spool(spool, chosen, lambda outcome: metrics.records.labels(outcome).inc())
            control_path = tmp_path / "c.sock"
            ledger = Ledger(tmp_path / "ledger")
            gateway = Gateway(
                chosen, metrics, records, ControlClient(control_path), ledger, Paths(tmp_path), exporter=exporter
            )
            gateway.use(snapshot_of(list(deployments), consent=consent))
            server = Server(gateway, chosen)
            sock = bind("127.0.0.1", 0, reuse_port=False)
            await server.listen(sock)
            running = Running(gateway, server, sock.getsockname()[1], spool)

            async def on_feedback(call: FeedbackCall) -> tuple[int, Any]:
                running.feedback.append(call)
                return 200, {"name": f"projects/{call.project}/feedback/1"}

            async def on_spans(call: SpansCall) -> tuple[int, Any]:
                running.spans.append(call)
                return 200, {"rejected": 1, "reason": "one too many"}

            async def knows_key(digest: str) -> bool:
                running.asked_about.append(digest)
                return await running.knows_key(digest)

            async def on_wake(target: str) -> None:
                running.woken.append(target)

            async def on_adapter(replica: str, adapter: str) -> str:
                running.loaded.append((replica, adapter))
                return await running.loads()

            control = ControlServer(
                control_path,
                chosen,
                on_feedback,
                on_spans,
                knows_key,
                lambda status: True,
                running.store,
                on_wake,
                on_adapter,
            )
            await control.start()
            stack.push_async_callback(control.stop)
            stack.push_async_callback(records.close)
            stack.push_async_callback(server.drain, 0.1)
            stack.push_async_callback(running.close_clients)
            return running

        yield start_gateway


@pytest.fixture(scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """host:port of a real llama.cpp server with a real model, started as a replica is."""
    async with replica(tmp_path_factory.mktemp("engine"), model_file()) as address:
        yield address


@pytest.fixture(scope="session")
async def embedder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The same with a tiny random BERT, which makes embeddings and nothing else."""
    folder = tmp_path_factory.mktemp("embedder")
    async with replica(folder, tiny_bert(folder / "bert.gguf")) as address:
        yield address


@asynccontextmanager
async def replica(folder: Path, model: Path, **fields: Any) -> AsyncIterator[str]:
    port = free_port()
    spec = fields | {"port": port, "model_path": str(model), "parallel": 2, "context_size": 1024, "threads": 1}
    (folder / "spec.json").write_text(json.dumps(spec))
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "services.inference_gateway.engine", "spec.json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        ready = folder / "ready.json"
        await eventually(lambda: ready.exists() or process.returncode is not None, seconds=120)
        assert process.returncode is None, (folder / "log").read_text()[-2000:]
        yield f"127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
