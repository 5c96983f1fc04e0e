"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.reconcile import Reconciler

from services.evaluation.api import EvaluationApi, SuiteApi, VerdictApi
from services.evaluation.comparison_api import ComparisonApi
from services.evaluation.comparison_reconcile import follow_comparisons
from services.evaluation.events import HANDLERS
from services.evaluation.reconcile import follow_evaluations
from services.evaluation.settings import Settings

app = App(
    component="evaluation",
    settings=Settings(),
    servicers=[SuiteApi, EvaluationApi, VerdictApi, ComparisonApi],
    handlers=HANDLERS,
    reconcilers=[Reconciler(follow_evaluations, every=0.5), Reconciler(follow_comparisons, every=0.5)],
)

if __name__ == "__main__":
    run(app)
