"""Which adapters an engine holds: fetched from the object store, loaded on first use, let go when used least of late."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from gyre_kit.storage import ObjectStore
from prometheus_client import CollectorRegistry

from services.inference_gateway.adapters import hot as hot_adapters
from services.inference_gateway.engines.vllm import Vllm
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.models.deployments import Replica, Target
from services.inference_gateway.targets import Adapter
from services.inference_gateway.tests.fake_vllm import Handler


@pytest.fixture
def engine() -> Iterator[tuple[str, dict[str, str]]]:
    """Its address, and what it holds."""
    handler = type("Handler", (Handler,), {"base": "hotline", "adapters": {}, "log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", handler.adapters  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Any]:
    """As much of one as loading needs."""
    store = ObjectStore.from_url(f"file://{tmp_path}/objects")
    settings = SimpleNamespace(resolved_home=tmp_path / "home", replica_adapters=2)
    async with aiohttp.ClientSession() as http:
        state = {"http": http, "held_adapters": hot_adapters.Held(), "gauges": Gauges(CollectorRegistry())}
        yield SimpleNamespace(store=store, settings=settings, state=state)


async def adapter(store: ObjectStore, name: str) -> Adapter:
    """A version with an adapter beside its weights, as the registry keeps it."""
    files = []
    for path, content in (("config.json", b"{}"), ("adapter/adapter_config.json", name.encode())):
        digest = sha256(content).hexdigest()
        await store.put(f"registry/blobs/sha256/{digest}", content)
        files.append({"path": path, "size": len(content), "sha256": digest})
    uri = await store.put(f"registry/manifests/{name}.json", json.dumps({"files": files}).encode())
    return Adapter(name, f"v/{name}", f"m/{name}", f"gyre://{name}", f"sha256:{name}", uri)


async def load(context: Any, address: str, name: str, workload: str = "w/1") -> None:
    replica = Replica(name="r", project="p", id="r1", deployment="d", target="t", workload=workload, address=address)
    target = Target(name="t", project="p", id="t", deployment="projects/p/deployments/hotline", engine="VLLM")
    given = await adapter(context.store, name)
    await hot_adapters._load(context, Vllm(), replica, target, given, name)


async def test_the_one_used_least_of_late_makes_room(context: Any, engine: tuple[str, dict[str, str]]) -> None:
    address, held = engine
    for name in ("maria", "otto", "maria", "paul"):
        await load(context, address, name)
    assert list(held) == ["maria", "paul"]
    counted = context.state["gauges"]._adapters
    assert [counted.labels(event)._value.get() for event in ("loaded", "evicted")] == [3, 1]
    assert (Path(held["paul"]) / "adapter_config.json").read_text() == "paul"
    assert [path.name for path in Path(held["paul"]).iterdir()] == ["adapter_config.json"]


async def test_what_it_holds_is_asked_for_after_a_restart_of_either_side(
    context: Any, engine: tuple[str, dict[str, str]]
) -> None:
    address, held = engine
    held |= {"maria": "/a", "otto": "/b"}
    await load(context, address, "paul")  # we began anew, and it had served
    assert set(held) == {"otto", "paul"}
    held.clear()
    await load(context, address, "paul", workload="w/2")  # it began anew
    assert set(held) == {"paul"}


async def test_an_adapter_that_is_not_there_is_said_so(context: Any, engine: tuple[str, dict[str, str]]) -> None:
    address, held = engine
    held["maria"] = "/a"
    missing = Adapter("otto", "v", "m", "gyre://o", "sha256:o", await context.store.put("m.json", b'{"files": []}'))
    replica = Replica(name="r", project="p", id="r1", deployment="d", target="t", workload="w", address=address)
    target = Target(name="t", project="p", id="t", deployment="projects/p/deployments/hotline", engine="VLLM")
    with pytest.raises(aiohttp.ClientResponseError, match="Not Found"):
        await hot_adapters._load(context, Vllm(), replica, target, missing, "otto")
    assert set(held) == {"maria"}


async def test_an_adapter_that_was_imported_lies_alone_in_its_manifest(
    context: Any, engine: tuple[str, dict[str, str]]
) -> None:
    store, files = context.store, []
    for path in ("adapter_config.json", "adapter_model.safetensors"):
        digest = sha256(path.encode()).hexdigest()
        await store.put(f"registry/blobs/sha256/{digest}", path.encode())
        files.append({"path": path, "size": len(path), "sha256": digest})
    uri = await store.put("registry/manifests/sent.json", json.dumps({"files": files}).encode())
    sent = Adapter("polite", "v/polite-gguf", "m/base", "gyre://polite", "sha256:polite", uri)
    folder = await hot_adapters._folder(store, sent, context.settings.resolved_home / "adapters")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {file["path"]: file["path"] for file in files}
