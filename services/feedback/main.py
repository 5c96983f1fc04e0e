"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.feedback.api import BatchApi, FeedbackApi
from services.feedback.events import HANDLERS
from services.feedback.reconcile import build_batches, resolve_pending
from services.feedback.settings import Settings

app = App(
    component="feedback",
    settings=Settings(),
    servicers=[FeedbackApi, BatchApi],
    handlers=HANDLERS,
    reconcilers=[Reconciler(resolve_pending), Reconciler(build_batches)],
    roles={
        "SubmitFeedback": Role.VIEWER,
        "ClaimFeedback": Role.REVIEWER,
        "ApproveFeedback": Role.REVIEWER,
        "RejectFeedback": Role.REVIEWER,
        "ReopenFeedback": Role.REVIEWER,
        "CreateBatch": Role.REVIEWER,
    },
)

if __name__ == "__main__":
    run(app)
