"""Shadows and experiments: what live traffic says of a model before it has all of it."""

from __future__ import annotations

from collections.abc import Callable

from gyre.inference_gateway.v1.deployment_pb2 import Deployment
from gyre.inference_gateway.v1.deployment_service_pb2 import TargetSpec
from gyre.inference_gateway.v1.experiment_pb2 import Experiment
from gyre.inference_gateway.v1.experiment_service_pb2 import CreateExperimentRequest, StopExperimentRequest
from gyre.inference_gateway.v1.shadow_pb2 import Shadow, ShadowPair
from gyre.inference_gateway.v1.shadow_service_pb2 import SetShadowRequest

from gyre_sdk import messages, names
from gyre_sdk.collection import Collection, Page, request_id


class Shadows(Collection[Shadow]):
    """Of deployments: `name` is a deployment's, or its id."""

    kind, plural = Shadow, "deployments"

    def set(self, name: str, target: TargetSpec, percent: int) -> Deployment:
        """From now on `target` gets copies of so many requests; its answers are compared, and nobody sees them."""
        return self._post(Deployment, self.name(name), SetShadowRequest(target=target, percent=percent), "setShadow")

    def stop(self, name: str) -> Deployment:
        """Drains every shadow of the deployment; what was compared stays."""
        return self._post(Deployment, self.name(name), None, "stopShadows")

    def of(self, name: str) -> list[Shadow]:
        """How its shadows compare, newest first."""
        reply = self._transport.call("GET", f"{names.path(self.name(name))}/shadows")
        return [messages.parse(Shadow, item) for item in reply.get("shadows", ())]

    def pairs(
        self, shadow: str, only_differing: bool = False, page_token: str = "", page_size: int = 50
    ) -> Page[ShadowPair]:
        """What both answered, newest first. `shadow`: a Shadow's name."""
        differing = "true" if only_differing else None
        return self._page(ShadowPair, f"{shadow}/pairs", "pairs", page_token, page_size, only_differing=differing)


class Experiments(Collection[Experiment]):
    """Named by `DEPLOYMENT/NUMBER`, or in full."""

    kind, plural, ends = Experiment, "deployments", ("DECIDED", "STOPPED")

    def name(self, name_or_id: str) -> str:
        deployment, _, number = name_or_id.partition("/")
        return name_or_id if number and deployment == "projects" else f"{self._of(deployment)}/experiments/{number}"

    def create(
        self,
        deployment: str,
        metric: str,
        *,
        arms: tuple[str, str] = ("", ""),
        min_effect: float = 0.0,
        error_chance: float = 0.0,
        threshold: float = 0.0,
    ) -> Experiment:
        """`metric`: FEEDBACK, ERRORS, LATENCY or LENGTH; 0 means what the server thinks fit. Returns it RUNNING."""
        request = CreateExperimentRequest(
            metric=messages.enum_value(CreateExperimentRequest, "metric", metric),
            a=arms[0],
            b=arms[1],
            min_effect=min_effect,
            error_chance=error_chance,
            threshold=threshold,
            request_id=request_id(),
        )
        return self._post(Experiment, f"{self._of(deployment)}/experiments", request)

    def of(self, deployment: str = "-", page_token: str = "", page_size: int = 50) -> Page[Experiment]:
        """Newest first; `-` means of all deployments."""
        return self._page(Experiment, f"{self._of(deployment)}/experiments", "experiments", page_token, page_size)

    def stop(self, name: str, etag: str = "") -> Experiment:
        """Ends it without a decision."""
        return self._post(Experiment, self.name(name), StopExperimentRequest(etag=etag), "stop")

    def promote(self, name: str) -> Deployment:
        """All traffic to the winner, by a rollout. Raises: GyreError if there is none."""
        return self._post(Deployment, self.name(name), None, "promote")

    def wait_decided(
        self, name: str, timeout: float | None = None, on_update: Callable[[Experiment], None] | None = None
    ) -> Experiment:
        """Until it has ended, one way or another."""
        return self.wait(name, timeout, on_update)

    def _of(self, deployment: str) -> str:
        return deployment if deployment.startswith("projects/") else f"{self.parent}/deployments/{deployment}"
