"""Deployments and completions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from gyre.inference_gateway.v1.adapter_pb2 import Adapter
from gyre.inference_gateway.v1.adapter_service_pb2 import SetAdaptersRequest
from gyre.inference_gateway.v1.completion_pb2 import Completion
from gyre.inference_gateway.v1.deployment_pb2 import Deployment
from gyre.inference_gateway.v1.deployment_service_pb2 import (
    CreateDeploymentRequest,
    RollBackRequest,
    ShiftTrafficRequest,
    TargetSpec,
)
from gyre.inference_gateway.v1.replica_pb2 import Replica, Scale, Schedule, ScheduleWindow
from gyre.inference_gateway.v1.replica_service_pb2 import ScaleDeploymentRequest
from gyre.inference_gateway.v1.rollout_pb2 import Guard, Rollout

from gyre_sdk import names
from gyre_sdk.collection import Collection, Page, request_id

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = f"(?:{'|'.join(DAYS)})"
_PART = f"{_DAY}(?:-{_DAY})?"
WINDOW = re.compile(rf"(every|{_PART}(?:,{_PART})*)\s+(\d\d:\d\d)-(\d\d:\d\d)\s+(\d+)(?:-(\d+))?")


class Deployments(Collection[Deployment]):
    kind, plural, ends = Deployment, "deployments", ("READY",)

    def create(self, deployment_id: str, targets: Iterable[TargetSpec] = (), **fields: Any) -> Deployment:
        """`deployment_id` is the OpenAI `model`. `fields`: display_name, alias, queue, scale. Returns it PENDING."""
        request = CreateDeploymentRequest(
            deployment_id=deployment_id, targets=list(targets), request_id=request_id(), **fields
        )
        return self._post(Deployment, f"{self.parent}/deployments", request)

    def update(self, name: str, **changes: Any) -> Deployment:
        """`changes`: display_name, alias, fallbacks, fallback_after (as JSON has them)."""
        return self._patch(Deployment, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        """Drains and stops every target."""
        self._delete(self.name(name), etag)

    def shift(
        self,
        name: str,
        targets: Iterable[TargetSpec],
        etag: str = "",
        *,
        steps: Iterable[int] = (),
        step_seconds: float = 0.0,
        watch: Iterable[str] = ("errors", "latency", "feedback"),
    ) -> Deployment:
        """Sets the whole split, at once or in `steps` (per cents of the way, each held for `step_seconds`); what is
        left out stands by for a while. A new version that is worse by what is `watch`ed is rolled back by itself.
        """
        request = ShiftTrafficRequest(targets=list(targets), etag=etag, steps=steps, request_id=request_id())
        request.step_time.FromTimedelta(timedelta(seconds=step_seconds))
        request.guard.CopyFrom(Guard(**dict.fromkeys(watch, True)))
        return self._post(Deployment, self.name(name), request, "shift")

    def roll_back(self, name: str, message: str = "", etag: str = "") -> Deployment:
        """Takes back the rollout on the way, or else the newest one. Raises: GyreError if there is none."""
        request = RollBackRequest(message=message, etag=etag, request_id=request_id())
        return self._post(Deployment, self.name(name), request, "rollBack")

    def scale(
        self,
        name: str,
        min_replicas: int,
        max_replicas: int,
        idle_seconds: float = 300.0,
        windows: Iterable[ScheduleWindow] = (),
        time_zone: str = "UTC",
    ) -> Deployment:
        """How many replicas each target has: between the bounds the number follows the load. With a minimum of 0 it
        sleeps when nobody asks for `idle_seconds`. In `windows` of the week, by the clocks of `time_zone` (IANA), their
        bounds hold instead. `guarantee_warning` of the answer says where its queue's quota does not hold the minimum.
        Raises: GyreError for bounds or windows that make no sense.
        """
        request = ScaleDeploymentRequest(scale=scale(min_replicas, max_replicas, idle_seconds, windows, time_zone))
        return self._post(Deployment, self.name(name), request, "scale")

    def adapters(self, deployment: Deployment) -> list[Adapter]:
        """Those of its newest target that serves."""
        serving = [target for target in deployment.targets if target.weight_percent]
        return list(serving[-1].adapters) if serving else []

    def set_adapters(self, name: str, adapters: Iterable[Adapter], etag: str = "") -> Deployment:
        """The whole set that it serves on its base: `id`, `variant`, and `keys` where only these get it.

        Raises: GyreError (ADAPTER_OF_ANOTHER_BASE) for one that was trained on other weights.
        """
        return self._post(Deployment, self.name(name), SetAdaptersRequest(adapters=adapters, etag=etag), "setAdapters")

    def replicas(self, name: str) -> Iterator[Replica]:
        """Those that are not stopped, oldest first."""
        return self._all(Replica, f"{self.name(name)}/replicas", "replicas")

    def logs(self, replica: str, stream: str = "stderr", tail_lines: int = 0, follow: bool = False) -> Iterator[str]:
        """What `replica` (its whole name) printed."""
        query = {"stream": stream, "tail_lines": tail_lines, "follow": follow}
        return self._transport.text(names.path(replica) + "/logs", query)

    def rollouts(self, name: str, page_token: str = "", page_size: int = 50) -> Page[Rollout]:
        """How its split changed, newest first."""
        return self._page(Rollout, f"{self.name(name)}/rollouts", "rollouts", page_token, page_size)

    def wait_rollout(
        self, name: str, timeout: float | None = None, on_update: Callable[[Rollout], None] | None = None
    ) -> Rollout:
        """Until the new split is in force, or was rolled back. Raises: GyreError if a new target broke."""
        return self._wait(lambda: self._get(Rollout, name), ("SUCCEEDED", "ROLLED_BACK"), timeout, on_update, True)

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


def scale(
    min_replicas: int,
    max_replicas: int,
    idle_seconds: float = 300.0,
    windows: Iterable[ScheduleWindow] = (),
    time_zone: str = "UTC",
) -> Scale:
    bounds = Scale(min_replicas=min_replicas, max_replicas=max_replicas)
    bounds.idle_time.FromTimedelta(timedelta(seconds=idle_seconds))
    if windows := list(windows):
        bounds.schedule.CopyFrom(Schedule(time_zone=time_zone, windows=windows))
    return bounds


def window(text: str) -> ScheduleWindow:
    """Of `mon-fri 08:00-20:00 2-6`: days (`mon,wed`, `sat-sun`, `every`), from when to when, replicas at least and at most.

    Raises: ValueError.
    """
    found = WINDOW.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"not a window: {text!r}, want for example 'mon-fri 08:00-20:00 2-6'")
    days, start, end, least, most = found.groups()
    return ScheduleWindow(
        days=[] if days == "every" else [day for part in days.split(",") for day in _days(part)],
        start=start,
        end=end,
        min_replicas=int(least),
        max_replicas=int(most or least) or 1,
    )


def window_text(window: ScheduleWindow) -> str:
    """As `window` reads it."""
    days = ",".join(DAYS[day - 1] for day in window.days) if len(window.days) < len(DAYS) else ""
    return f"{days or 'every'} {window.start}-{window.end} {window.min_replicas}-{window.max_replicas}"


def _days(part: str) -> list[ScheduleWindow.Day.ValueType]:
    """`fri-mon` goes over Sunday."""
    first, _, last = part.partition("-")
    start = DAYS.index(first)
    count = (DAYS.index(last or first) - start) % len(DAYS) + 1
    return [ScheduleWindow.Day.values()[1 + (start + number) % len(DAYS)] for number in range(count)]


def target(variant: str = "", weight_percent: int = 100, **fields: Any) -> TargetSpec:
    """`fields`: engine, upstream_url, upstream_model, upstream_key_ref, *_price_microusd, places."""
    return TargetSpec(variant=variant, weight_percent=weight_percent, **fields)
