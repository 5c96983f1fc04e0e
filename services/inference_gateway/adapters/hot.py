"""Engines that load adapters while they serve: loaded when one is asked for, and let go when it was used least of late.

The folder of an adapter lies below our home, where engines on this machine, or with this file system, find it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import aiohttp
from gyre_kit.app import Context
from gyre_kit.names import last
from gyre_kit.storage import ObjectStore, checked, key_of

from services.inference_gateway import store
from services.inference_gateway.engines.base import Endpoint, HotAdapters
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.models.deployments import Replica, Target
from services.inference_gateway.proxy.adapters import served_as
from services.inference_gateway.targets import Adapter, adapters_of

log = logging.getLogger(__name__)
BLOBS = "registry/blobs/sha256"  # where the registry keeps files by content; a version's manifest lists them by path
FOLDER = "adapter/"


class Held:
    """What each engine holds, least used first. Adapters of one replica are loaded one after another."""

    def __init__(self) -> None:
        self._by_engine: dict[tuple[str, str], OrderedDict[str, None]] = {}
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(
        self, http: aiohttp.ClientSession, engine: HotAdapters, endpoint: Endpoint, replica: Replica
    ) -> OrderedDict[str, None]:
        """What a replica that we know nothing of says itself: it may have served before we started."""
        place = (replica.id, replica.workload)  # started anew it holds nothing
        if place not in self._by_engine:
            self._by_engine[place] = OrderedDict.fromkeys(sorted(await engine.loaded_adapters(http, endpoint)))
        return self._by_engine[place]


async def use(context: Context, replica_id: str, name: str) -> str:
    """A request waits for the adapter that its engine calls `name`. Returns why it cannot be loaded; empty if it is."""
    async with context.db.transaction() as session:
        found = await store.replica_with_target(session, replica_id)
    if found is None or not found[0].address:
        return "the engine is gone"
    replica, target = found
    adapter = next((each for each in adapters_of(target) if served_as(each.id, each.digest) == name), None)
    engine = ENGINES[target.engine.lower()]
    if adapter is None or not isinstance(engine, HotAdapters):
        return "the deployment does not serve it any more"
    held: Held = context.state["held_adapters"]
    async with held.locks[replica.id]:
        try:
            await _load(context, engine, replica, target, adapter, name)
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TimeoutError) as error:
            log.warning("an adapter is not loaded", extra={"adapter": adapter.variant, "reason": repr(error)})
            return f"the engine does not take it ({error})"
    return ""


async def _load(
    context: Context, engine: HotAdapters, replica: Replica, target: Target, adapter: Adapter, name: str
) -> None:
    http: aiohttp.ClientSession = context.state["http"]
    gauges: Gauges = context.state["gauges"]
    endpoint = Endpoint(f"http://{replica.address}/v1", last(target.deployment))
    held = await context.state["held_adapters"].of(http, engine, endpoint, replica)
    if name in held:
        held.move_to_end(name)
        return
    folder = await _folder(context.store, adapter, context.settings.resolved_home / "adapters")
    while len(held) >= context.settings.replica_adapters:
        await engine.unload_adapter(http, endpoint, next(iter(held)))
        held.popitem(last=False)
        gauges.count_adapter("evicted")
    await engine.load_adapter(http, endpoint, name, str(folder))
    gauges.count_adapter("loaded")
    held[name] = None


async def _folder(objects: ObjectStore, adapter: Adapter, home: Path) -> Path:
    """The adapter as PEFT saved it, made once. Raises: FileNotFoundError; KeyError, ValueError for a bad manifest."""
    folder = home / checked(adapter.digest.removeprefix("sha256:"))
    manifest = json.loads(await objects.get(key_of(adapter.version_uri)))
    entries = {str(entry["path"]): entry for entry in manifest["files"]}
    beside_weights = {path: entry for path, entry in entries.items() if path.startswith(FOLDER)}
    for path, entry in (beside_weights or _alone(entries)).items():
        target = folder / checked(path.removeprefix(FOLDER))
        if target.is_symlink():
            continue
        source = await objects.fetch(f"{BLOBS}/{checked(entry['sha256'])}", home / ".blobs")
        folder.mkdir(parents=True, exist_ok=True)
        os.symlink(source, target)
    return folder


def _alone(entries: dict[str, Any]) -> dict[str, Any]:
    """The files of an adapter that was imported; none of a version that has no adapter."""
    return entries if "adapter_config.json" in entries else {}
