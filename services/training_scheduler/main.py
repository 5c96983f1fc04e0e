"""What this process is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gyre_kit.app import App, Context, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.training_scheduler.api import RunApi
from services.training_scheduler.catalogue_api import MethodApi, RecipeApi
from services.training_scheduler.conductor import conduct
from services.training_scheduler.events import HANDLERS
from services.training_scheduler.metrics import COUNTERS, Counters
from services.training_scheduler.pipeline_api import PipelineApi
from services.training_scheduler.reconcile import follow_runs, release_pins
from services.training_scheduler.report_api import RunReportApi
from services.training_scheduler.settings import Settings
from services.training_scheduler.try_api import TryApi


@asynccontextmanager
async def counting(context: Context) -> AsyncIterator[None]:
    context.state[COUNTERS] = Counters(context.metrics.registry)
    yield


app = App(
    component="training_scheduler",
    settings=Settings(),
    servicers=[RunApi, MethodApi, RecipeApi, RunReportApi, PipelineApi, TryApi],
    handlers=HANDLERS,
    extras=[counting],
    reconcilers=[
        Reconciler(follow_runs, every=0.5),
        Reconciler(conduct, every=0.5),
        Reconciler(release_pins, every=5.0),
    ],
    roles={
        "EstimateRun": Role.VIEWER,
        "Heartbeat": Role.WORKER,
        "ReportMetrics": Role.WORKER,
        "ReportCheckpoint": Role.WORKER,
        "ReportAlarm": Role.WORKER,
        "ReportSample": Role.WORKER,
        "CompleteRun": Role.WORKER,
    },
)

if __name__ == "__main__":
    run(app)
