"""What this process is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from gyre_kit.app import App, Context, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.gpu_scheduler import cards, launchers
from services.gpu_scheduler.accounting import metrics as accounting_metrics
from services.gpu_scheduler.accounting.api import AccountingApi, CostApi
from services.gpu_scheduler.accounting.reconcile import look_at_capacity, roll_up
from services.gpu_scheduler.api import QueueApi, WorkloadApi
from services.gpu_scheduler.books import BOOKS, Books
from services.gpu_scheduler.cluster_queue_api import ClusterQueueApi
from services.gpu_scheduler.fleet import fence, hear_of_clusters, hear_of_node
from services.gpu_scheduler.launchers.base import Closes
from services.gpu_scheduler.launchers.ends import Ends
from services.gpu_scheduler.metrics import ADMISSION, FLEET, FleetGauges, Gauges
from services.gpu_scheduler.node_api import NodeApi
from services.gpu_scheduler.priority_class_api import PriorityClassApi
from services.gpu_scheduler.reconcile import (
    ENDS,
    LAUNCHERS,
    admit,
    end_overdue,
    launch,
    look_at_once,
    stop,
    sweep,
    watch,
)
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.simulation.api import SimulationApi

OPERATE_QUEUES = (
    "CreateQueue", "UpdateQueue", "DeleteQueue", "CreateClusterQueue", "UpdateClusterQueue", "DeleteClusterQueue",
    "CreateCohort", "UpdateCohort", "DeleteCohort", "CreatePriorityClass", "UpdatePriorityClass", "DeletePriorityClass",
)  # fmt: skip
OPERATE_NODES = (
    "UpdateNode", "CordonNode", "UncordonNode", "DrainNode", "ForgetNode", "ResetCard", "UpdateFlavor",
)  # fmt: skip
IDLE_SECONDS = 2.0  # each is woken when there is something for it


def _from_thread(call: Callable[[], None]) -> Callable[[], None]:
    """`call` as another thread may call it: it runs in this loop."""
    loop = asyncio.get_running_loop()

    def soon() -> None:
        loop.call_soon_threadsafe(call)

    return soon


@asynccontextmanager
async def own_node(context: Context) -> AsyncIterator[None]:
    """This machine is a node before the service says that it is ready, and the ends of what runs on it are heard."""
    context.state[ADMISSION] = Gauges(context.metrics.registry)
    context.state[BOOKS] = Books(context.settings.scheduling_policy, context.settings.backoff_max_seconds)
    context.state[FLEET] = FleetGauges(context.metrics.registry)
    context.state[accounting_metrics.ACCOUNTING] = accounting_metrics.Gauges(context.metrics.registry)
    await hear_of_node(context)
    cards.watch(_from_thread(context.wake_event(hear_of_node.__name__).set))
    context.state[ENDS] = ends = Ends(partial(look_at_once, context))
    context.state[LAUNCHERS] = by_name = launchers.of(context.settings)
    try:
        yield
    finally:
        ends.close()
        await asyncio.to_thread(cards.unwatch)
        for launcher in by_name.values():
            if isinstance(launcher, Closes):
                await asyncio.to_thread(launcher.close)


app = App(
    component="gpu_scheduler",
    settings=Settings(),
    servicers=[
        WorkloadApi,
        QueueApi,
        ClusterQueueApi,
        PriorityClassApi,
        NodeApi,
        CostApi,
        AccountingApi,
        SimulationApi,
    ],
    reconcilers=[
        Reconciler(hear_of_node, every=5.0),
        Reconciler(fence, every=IDLE_SECONDS),
        Reconciler(hear_of_clusters, every=IDLE_SECONDS),
        Reconciler(admit),
        Reconciler(end_overdue, every=1.0),
        Reconciler(launch, every=IDLE_SECONDS),
        Reconciler(watch, every=IDLE_SECONDS),
        Reconciler(stop, every=IDLE_SECONDS),
        Reconciler(sweep, every=3600.0),
        Reconciler(roll_up, every=30.0),
        Reconciler(look_at_capacity, every=15.0),
    ],
    roles=dict.fromkeys((*OPERATE_QUEUES, *OPERATE_NODES, "WhatIf"), Role.ADMIN),
    extras=[own_node],
)

if __name__ == "__main__":
    run(app)
