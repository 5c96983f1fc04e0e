"""Deployments and completions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gyre.inference_gateway.v1.completion_pb2 import Completion
from gyre.inference_gateway.v1.deployment_pb2 import Deployment
from gyre.inference_gateway.v1.deployment_service_pb2 import (
    CreateDeploymentRequest,
    ShiftTrafficRequest,
    TargetSpec,
)

from gyre_sdk.collection import Collection, request_id


class Deployments(Collection[Deployment]):
    kind, plural, ends = Deployment, "deployments", ("READY",)

    def create(self, deployment_id: str, targets: Iterable[TargetSpec] = (), **fields: str) -> Deployment:
        """`deployment_id` is the OpenAI `model`. `fields`: display_name, alias, queue. Returns it PENDING."""
        request = CreateDeploymentRequest(
            deployment_id=deployment_id, targets=list(targets), request_id=request_id(), **fields
        )
        return self._post(Deployment, f"{self.parent}/deployments", request)

    def delete(self, name: str, etag: str = "") -> None:
        """Drains and stops every target."""
        self._delete(self.name(name), etag)

    def shift(self, name: str, targets: Iterable[TargetSpec], etag: str = "") -> Deployment:
        """Sets the whole split; what is left out drains."""
        request = ShiftTrafficRequest(targets=list(targets), etag=etag, request_id=request_id())
        return self._post(Deployment, self.name(name), request, "shift")

    def wait_ready(
        self, name: str, timeout: float | None = 120, on_update: Callable[[Deployment], None] | None = None
    ) -> Deployment:
        """Until every target with weight answers. Raises: GyreError if none comes up."""
        return self.wait(name, timeout, on_update)


class Completions(Collection[Completion]):
    """What was asked and answered, of a project that consented."""

    kind, plural = Completion, "completions"

    def delete(self, name: str) -> None:
        """Forgets one for good."""
        self._delete(self.name(name))


def target(variant: str = "", weight_percent: int = 100, **fields: Any) -> TargetSpec:
    """`fields`: engine, upstream_url, upstream_model, upstream_key_ref, *_price_microusd, places."""
    return TargetSpec(variant=variant, weight_percent=weight_percent, **fields)
