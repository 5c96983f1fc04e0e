"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.inference_gateway.adapters.api import AdapterApi
from services.inference_gateway.api import DeploymentApi
from services.inference_gateway.batches.answering import answer_batches
from services.inference_gateway.batches.api import InferenceBatchApi
from services.inference_gateway.batches.steps import advance_batches
from services.inference_gateway.comparing.experiment_api import ExperimentApi
from services.inference_gateway.comparing.reconcile import follow_experiments, note_counts
from services.inference_gateway.comparing.shadow_api import ShadowApi
from services.inference_gateway.events import HANDLERS
from services.inference_gateway.front import serving_openai
from services.inference_gateway.policies.api import PromptApi, TrafficPolicyApi
from services.inference_gateway.projects import refresh_keys
from services.inference_gateway.publishing import publish_routes, warm_up
from services.inference_gateway.reconcile import (
    attach_upstream,
    follow_aliases,
    follow_deployments,
    forget_stopped_replicas,
    show_gauges,
)
from services.inference_gateway.replicas.api import ReplicaApi
from services.inference_gateway.settings import Settings
from services.inference_gateway.traces.api import TraceApi
from services.inference_gateway.traces.completion_api import CompletionApi
from services.inference_gateway.traces.retention import forget_old
from services.inference_gateway.usage.api import SpendingApi, UsageApi

app = App(
    component="inference_gateway",
    settings=Settings(),
    servicers=[
        DeploymentApi,
        ReplicaApi,
        AdapterApi,
        CompletionApi,
        TraceApi,
        SpendingApi,
        UsageApi,
        ShadowApi,
        ExperimentApi,
        InferenceBatchApi,
        TrafficPolicyApi,
        PromptApi,
    ],
    handlers=HANDLERS,
    reconcilers=[
        Reconciler(refresh_keys, every=30.0),
        Reconciler(publish_routes, every=1.0),
        Reconciler(follow_deployments, every=0.3),
        Reconciler(follow_aliases, every=2.0),
        Reconciler(attach_upstream, every=2.0),
        Reconciler(forget_stopped_replicas, every=3600.0),
        Reconciler(follow_experiments, every=1.0),
        Reconciler(note_counts, every=2.0),
        Reconciler(forget_old, every=60.0),
        Reconciler(advance_batches, every=1.0),
        Reconciler(answer_batches, every=1.0),
        Reconciler(answer_batches, every=1.0),  # two side by side: a long one does not hold up a short one
        Reconciler(show_gauges, every=15.0),
    ],
    extras=[serving_openai],
    warm_up=warm_up,
    roles=dict.fromkeys(("DeleteCompletion", "DeleteTrace", "DeleteSession"), Role.REVIEWER)
    | {"UpdateTrafficPolicy": Role.ADMIN},
)

if __name__ == "__main__":
    run(app)
