"""Which target answers: a share of new requests each, those that fail stand back for a while.

A request may wish for a version, or belong to a session, which stays with the target that it began on, by whichever of
its replicas.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from services.inference_gateway.proxy import adapters, balance, errors
from services.inference_gateway.proxy.outcomes import Counting
from services.inference_gateway.proxy.outliers import Ejection, Outliers
from services.inference_gateway.proxy.sessions import Session, SessionLedger, position, session_of
from services.inference_gateway.proxy.snapshot import Deployment, Snapshot, Target, TargetState

log = logging.getLogger(__name__)
SESSION_HEADER, VERSION_HEADER = "x-session-id", "x-gyre-version"

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class _Failures:
    """A circuit that is open until `until`; then one request at a time tries whether it can be closed."""

    count: int = 0
    until: float = 0.0
    probing: bool = False


@dataclass(init=False, slots=True)
class Wish:
    """What a request says about who is to answer it. `began`: its session has seen no answer before this one."""

    version: str
    session: Session | None
    began: bool
    adapter: str

    def __init__(self, version: str = "", session: Session | None = None, adapter: str = "") -> None:
        self.version = version
        self.session = session
        self.began = False
        self.adapter = adapter


def resolve(
    snapshot: Snapshot, project: str, model: str, headers: Mapping[str, str], key: str = ""
) -> tuple[Deployment, Wish]:
    """The deployment that `model` means in `project`, and what a request of `key` (its name) wishes: a version
    (`name@version`, or the header) comes before a session; an adapter (`name:adapter`, or the header) goes with both.

    Raises: ApiError 404 that lists what there is.
    """
    name, version, adapter = model, headers.get(VERSION_HEADER, ""), headers.get(adapters.HEADER, "")
    deployment = snapshot.deployments.get((project, name))
    if deployment is None and "@" in model:
        name, _, version = model.rpartition("@")
        deployment = snapshot.deployments.get((project, name))
    names_version = name != model
    if deployment is None and ":" in name:
        name, _, adapter = name.partition(":")
        deployment = snapshot.deployments.get((project, name))
    if deployment is None:
        raise errors.unknown_model(model, [each.name for each in snapshot.models_of(project)])
    if adapter or deployment.adapters:
        adapter = adapters.chosen(deployment, adapter, key)
    if version or names_version:
        versions = sorted({each.version for each in deployment.targets if each.state is not TargetState.DRAINING})
        if version not in versions:
            raise errors.unknown_version(name, version, [f"{name}@{each}" for each in versions if each])
        return deployment, Wish(version, adapter=adapter)
    given = headers.get(SESSION_HEADER, "")
    spoken_to = f"{name}:{adapter}" if adapter else name
    return deployment, Wish(session=session_of(project, spoken_to, given) if given else None, adapter=adapter)


class Running:
    """One request on one target."""

    __slots__ = ("_counts", "_ejected", "_probed", "_target")

    def __init__(self, counts: dict[str, int], target: str, probed: _Failures | None, ejected: Ejection | None) -> None:
        self._counts = counts
        self._target = target
        self._probed = probed
        self._ejected = ejected

    def __enter__(self) -> None:
        self._counts[self._target] = self._counts.get(self._target, 0) + 1
        self._probe(True)

    def __exit__(self, *_: object) -> None:
        self._counts[self._target] -= 1
        self._probe(False)

    def _probe(self, on: bool) -> None:
        if self._probed is not None:
            self._probed.probing = on
        if self._ejected is not None:
            self._ejected.probing = on


class Router:
    """Keeps what this worker has learnt of targets: how many requests run on each, and which failed of late."""

    def __init__(
        self,
        clock: Callable[[], float],
        sessions: SessionLedger | None = None,
        random_: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._random = random_ or random.Random()
        self._failures: dict[str, _Failures] = {}
        self.in_flight: dict[str, int] = {}
        self.outcomes = Counting()
        self.outliers = Outliers()

    def choose(
        self, deployment: Deployment, wish: Wish, tried: Collection[str], prefix: Callable[[], bytes] = bytes
    ) -> Target | None:
        """A target for a new request, or None if there is none that was not tried.

        A version that is wished for is served whatever its weight, and so is the target that a session began on.
        Weights divide the rest between variants; among equal targets, `balance` decides by load and by `prefix`.
        """
        if wish.session and self._sessions is not None:
            return self._of_session(deployment, wish, wish.session, self._sessions, tried, prefix)
        return self._pick(self._usable(deployment, wish.version, wish.adapter, tried), self._random.random(), prefix)

    def _of_session(
        self,
        deployment: Deployment,
        wish: Wish,
        session: Session,
        ledger: SessionLedger,
        tried: Collection[str],
        prefix: Callable[[], bytes],
    ) -> Target | None:
        """The one it has. Another one only where that is gone from the routes, or has not answered it even once: an
        engine that is away for a moment is no reason to show a conversation a second version.
        """
        there: dict[str, list[Target]] = {}
        for each in deployment.targets:
            if each.state is not TargetState.DRAINING and (not wish.adapter or adapters.on(each, wish.adapter)):
                there.setdefault(each.target, []).append(each)

        def is_spent(target: str) -> bool:
            return target not in there or (wish.began and all(each.id in tried for each in there[target]))

        def keep_or_pick(before: str) -> str:
            if not is_spent(before):
                return before
            wish.began = True
            new = self._pick(self._usable(deployment, "", wish.adapter, tried), position(session), prefix)
            return new.target if new else ""

        known = ledger.target_of(session)
        if is_spent(known):
            try:
                known = ledger.claim(session, keep_or_pick)
            except OSError as error:
                log.error("a session cannot be kept", extra={"reason": str(error)})
                known = keep_or_pick("")
        replicas = [each for each in there.get(known, ()) if each.id not in tried]
        return self._pick(replicas, 0.0, lambda: session)  # its own replica has what was said before in its cache

    def _usable(self, deployment: Deployment, version: str, adapter: str, tried: Collection[str]) -> list[Target]:
        return [
            each
            for each in deployment.targets
            if each.state is not TargetState.DRAINING
            and each.id not in tried
            and (each.version == version if version else each.weight > 0)
            and (not adapter or adapters.on(each, adapter) is not None)
        ]

    def _pick(self, usable: Sequence[Target], at: float, prefix: Callable[[], bytes]) -> Target | None:
        """By weight; `at`, in [0, 1), says where in all of it. Healthy targets come first; if there are none, those
        that stand back or are called unhealthy are tried, for a wrong suspicion must not turn into an outage.
        """
        now = self._clock()
        healthy = [each for each in usable if each.state is not TargetState.UNHEALTHY and not self._paused(each, now)]
        candidates = healthy or usable
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        equals = balance.of_one_variant(candidates, at)
        return balance.choose(equals, prefix() if len(equals) > 1 else b"", self.in_flight, self._random)

    def running(self, target: Target) -> Running:
        """`with` it, a request counts as one that runs on `target`: a draining one is free when its count is 0."""
        failures = self._failures.get(target.id) if self._failures else None
        ejected = self.outliers.ejected.get(target.id) if self.outliers.ejected else None
        return Running(self.in_flight, target.id, failures, ejected)

    def succeeded(self, target: Target, seconds: float, tokens: int = 0, first_seconds: float = 0.0) -> None:
        """It answered, `seconds` after it was asked, with so many tokens (0: it did not say); a stream began after
        `first_seconds`.
        """
        self.outcomes.answered(target.target, seconds, tokens)
        if target.id in self.outliers.watched:
            self.outliers.answered(target.id, first_seconds, self._clock())
        if self._failures:
            self._failures.pop(target.id, None)

    def erred(self, target: Target) -> None:
        """A request failed at it, whether it is down or not."""
        self.outcomes.failed(target.id)
        if target.id in self.outliers.watched:
            self.outliers.failed(target.id, self._clock())

    def look_for_outliers(self) -> Mapping[str, str]:
        """Those that stand back from now on, and why."""
        return self.outliers.look(self._clock())

    def failed(self, target: Target) -> None:
        """It is down: it stands back for a second, and twice as long each time that it fails again."""
        failures = self._failures.setdefault(target.id, _Failures())
        failures.count += 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures.count - 1, 10), LONGEST_PAUSE_SECONDS)
        failures.until = self._clock() + pause

    def forget_others(self, targets: Collection[str]) -> None:
        """Drops what is known of targets that no snapshot names any more and on which nothing runs."""
        self._failures = {each: value for each, value in self._failures.items() if each in targets}
        for gone in [each for each, count in self.in_flight.items() if not count and each not in targets]:
            del self.in_flight[gone]
        self.outcomes.forget_others(targets)

    def _paused(self, target: Target, now: float) -> bool:
        if self.outliers.ejected and self.outliers.keeps_out(target.id, now):
            return True
        failures = self._failures.get(target.id)
        return failures is not None and (now < failures.until or failures.probing)
