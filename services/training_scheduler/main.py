"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.training_scheduler.api import RecipeApi, RunApi
from services.training_scheduler.conductor import conduct
from services.training_scheduler.events import HANDLERS
from services.training_scheduler.pipeline_api import PipelineApi
from services.training_scheduler.reconcile import follow_runs, release_pins
from services.training_scheduler.report_api import RunReportApi
from services.training_scheduler.settings import Settings

app = App(
    component="training_scheduler",
    settings=Settings(),
    servicers=[RunApi, RecipeApi, RunReportApi, PipelineApi],
    handlers=HANDLERS,
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
        "CompleteRun": Role.WORKER,
    },
)

if __name__ == "__main__":
    run(app)
