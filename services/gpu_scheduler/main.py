"""What this process is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gyre_kit.app import App, Context, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.gpu_scheduler.api import CostApi, NodeApi, QueueApi, WorkloadApi
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.ends import Ends
from services.gpu_scheduler.metrics import ADMISSION, Gauges
from services.gpu_scheduler.reconcile import (
    BOOKS,
    ENDS,
    admit,
    hear_of_node,
    launch,
    look_at_once,
    stop,
    sweep,
    watch,
)
from services.gpu_scheduler.settings import Settings

IDLE_SECONDS = 2.0  # each is woken when there is something for it


@asynccontextmanager
async def own_node(context: Context) -> AsyncIterator[None]:
    """This machine is a node before the service says that it is ready, and the ends of what runs on it are heard."""
    context.state[ADMISSION] = Gauges(context.metrics.registry)
    context.state[BOOKS] = Books(context.settings.scheduling_policy)
    await hear_of_node(context)
    context.state[ENDS] = ends = Ends(partial(look_at_once, context))
    try:
        yield
    finally:
        ends.close()


app = App(
    component="gpu_scheduler",
    settings=Settings(),
    servicers=[WorkloadApi, QueueApi, NodeApi, CostApi],
    reconcilers=[
        Reconciler(hear_of_node, every=5.0),
        Reconciler(admit),
        Reconciler(launch, every=IDLE_SECONDS),
        Reconciler(watch, every=IDLE_SECONDS),
        Reconciler(stop, every=IDLE_SECONDS),
        Reconciler(sweep, every=3600.0),
    ],
    roles={"CreateQueue": Role.ADMIN, "UpdateQueue": Role.ADMIN},
    extras=[own_node],
)

if __name__ == "__main__":
    run(app)
