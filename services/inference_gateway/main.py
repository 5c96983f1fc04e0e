"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.inference_gateway.api import CompletionApi, DeploymentApi, SpendingApi, UsageApi
from services.inference_gateway.events import HANDLERS
from services.inference_gateway.front import serving_openai
from services.inference_gateway.reconcile import (
    attach_upstream,
    follow_aliases,
    follow_deployments,
    publish_routes,
    refresh_keys,
    show_gauges,
    warm_up,
)
from services.inference_gateway.settings import Settings

app = App(
    component="inference_gateway",
    settings=Settings(),
    servicers=[DeploymentApi, CompletionApi, SpendingApi, UsageApi],
    handlers=HANDLERS,
    reconcilers=[
        Reconciler(refresh_keys, every=30.0),
        Reconciler(publish_routes, every=1.0),
        Reconciler(follow_deployments, every=0.3),
        Reconciler(follow_aliases, every=2.0),
        Reconciler(attach_upstream, every=2.0),
        Reconciler(show_gauges, every=15.0),
    ],
    extras=[serving_openai],
    warm_up=warm_up,
    roles={"DeleteCompletion": Role.REVIEWER},
)

if __name__ == "__main__":
    run(app)
