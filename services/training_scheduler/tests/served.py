"""What the tests over real gRPC share: this service and its neighbours, up and quick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gyre.training_scheduler.v1 import run_pb2, run_service_pb2
from gyre_kit.app import App, Context
from gyre_kit.reconcile import Reconciler
from gyre_kit.testing import Platform

from services.training_scheduler import main
from services.training_scheduler.settings import Settings
from services.training_scheduler.tests.neighbours import neighbours
from services.training_scheduler.tests.world import BASE, SFT_ROWS, World, populated


def quick(platform: Platform, **changes: Any) -> App:
    """The app as it is, looking more often."""
    settings = platform.settings(Settings, follow_seconds=0.02, conduct_seconds=0.02, watch_seconds=0.02)
    often = [Reconciler(it.step, every=0.05) for it in main.app.reconcilers]
    return replace(main.app, settings=settings, reconcilers=often, **changes)


@asynccontextmanager
async def serving(platform: Platform, world: World) -> AsyncIterator[Context]:
    async with neighbours(platform, world), platform.serving(quick(platform)) as contexts:
        yield contexts[0]


def renew(world: World) -> None:
    """Everything as it was at first, in the same servers."""
    vars(world).update({name: value for name, value in vars(populated()).items() if name != "store"})


def create_request(**fields: Any) -> run_service_pb2.CreateRunRequest:
    spec = {"method": run_pb2.METHOD_SFT, "base": BASE, "datasets": [SFT_ROWS], "seed": 7} | fields
    return run_service_pb2.CreateRunRequest(parent="projects/acme", spec=run_pb2.RunSpec(**spec))
