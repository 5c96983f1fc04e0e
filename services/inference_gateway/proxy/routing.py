"""Which target answers: a share of new requests each, those that fail stand back for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.inference_gateway.proxy import balance, errors
from services.inference_gateway.proxy.snapshot import Deployment, Snapshot, Target, TargetState

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class _Failures:
    """A circuit that is open until `until`; then one request at a time tries whether it can be closed."""

    count: int = 0
    until: float = 0.0
    probing: bool = False


def resolve(snapshot: Snapshot, project: str, model: str) -> tuple[Deployment, str]:
    """The deployment that `model` means in `project`, and the version that it pins ("" for none).

    Raises: ApiError 404 that lists what there is.
    """
    deployment = snapshot.deployments.get((project, model))
    if deployment is not None:
        return deployment, ""
    name, at, version = model.rpartition("@")
    deployment = snapshot.deployments.get((project, name)) if at else None
    if deployment is None:
        raise errors.unknown_model(model, [each.name for each in snapshot.models_of(project)])
    versions = sorted({each.version for each in deployment.targets if each.state is not TargetState.DRAINING})
    if version not in versions:
        raise errors.unknown_version(name, version, [f"{name}@{each}" for each in versions if each])
    return deployment, version


class Router:
    """Keeps what this worker has learnt of targets: how many requests run on each, and which failed of late."""

    def __init__(self, clock: Callable[[], float], random_: random.Random | None = None) -> None:
        self._clock = clock
        self._random = random_ or random.Random()
        self._failures: dict[str, _Failures] = {}
        self.in_flight: dict[str, int] = {}

    def choose(
        self, deployment: Deployment, version: str, tried: Collection[str], prefix: Callable[[], bytes] = bytes
    ) -> Target | None:
        """A target for a new request, or None if there is none that was not tried.

        A pinned version is served whatever its weight. Healthy targets come first; if there are none, those that
        stand back or are called unhealthy are tried, for a wrong suspicion must not turn into an outage. Weights divide
        requests between versions; among targets of one version, `balance` decides by load and by `prefix`.
        """
        usable = [
            each
            for each in deployment.targets
            if each.state is not TargetState.DRAINING
            and each.id not in tried
            and (each.version == version if version else each.weight > 0)
        ]
        now = self._clock()
        healthy = [each for each in usable if each.state is TargetState.READY and not self._paused(each, now)]
        candidates = healthy or usable
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        equals = balance.of_one_version(candidates, self._random)
        return balance.choose(equals, prefix() if len(equals) > 1 else b"", self.in_flight, self._random)

    @contextmanager
    def running(self, target: Target) -> Iterator[None]:
        """Counts a request as long as it runs on `target`: a draining one is free when its count is 0."""
        self.in_flight[target.id] = self.in_flight.get(target.id, 0) + 1
        probed = self._failures.get(target.id) if self._failures else None
        if probed is not None:
            probed.probing = True
        try:
            yield
        finally:
            self.in_flight[target.id] -= 1
            if probed is not None:
                probed.probing = False

    def succeeded(self, target: Target) -> None:
        if self._failures:
            self._failures.pop(target.id, None)

    def failed(self, target: Target) -> None:
        """It stands back for a second, and twice as long each time that it fails again."""
        failures = self._failures.setdefault(target.id, _Failures())
        failures.count += 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures.count - 1, 10), LONGEST_PAUSE_SECONDS)
        failures.until = self._clock() + pause

    def forget_others(self, targets: Collection[str]) -> None:
        """Drops what is known of targets that no snapshot names any more and on which nothing runs."""
        self._failures = {each: value for each, value in self._failures.items() if each in targets}
        self.in_flight = {each: count for each, count in self.in_flight.items() if count or each in targets}

    def _paused(self, target: Target, now: float) -> bool:
        failures = self._failures.get(target.id)
        return failures is not None and (now < failures.until or failures.probing)
