"""Copies of requests for models that nobody sees the answers of yet.

A copy is asked only when its client has the whole answer, takes no turn, is billed to nobody, and gives way: it is not
begun where the engine has no place free, and is broken off where somebody real wants the place. Both answers are
compared here; figures always go to the control plane, texts only where the project consented.
"""

from __future__ import annotations

import asyncio
import logging
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy import adapters, comparing
from services.inference_gateway.proxy.asking import EMBEDDINGS
from services.inference_gateway.proxy.exchange import Exchange
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.proxy.reply import Unseen
from services.inference_gateway.proxy.snapshot import Key, Snapshot, Target, TargetState
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.upstream import UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.gateway import Gateway

log = logging.getLogger(__name__)
Group = list[Target]  # engines that serve one and the same thing


class Shadows:
    """One worker's. `plans` is empty where no deployment has a shadow, `running` where no copy is being answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.plans: dict[tuple[str, str], list[Group]] = {}
        self.running: dict[str, set[asyncio.Task[None]]] = {}  # by base URL of the engine

    def use(self, snapshot: Snapshot) -> None:
        self.plans = {}
        for place, deployment in snapshot.deployments.items():
            groups: dict[str, Group] = {}
            for target in deployment.targets:
                if target.shadow_percent and target.state is TargetState.READY:
                    groups.setdefault(target.variant or target.id, []).append(target)
            if groups:
                self.plans[place] = list(groups.values())

    def after(self, live: Exchange, key: Key) -> None:
        """Begins the copies of a request that was answered. Neither vectors nor calls of tools can be compared."""
        if live.asking.operation == EMBEDDINGS or not live.answer.text or live.target is None:
            return
        seconds = self._gateway.clock() - live.asked
        for group in self.plans.get((live.deployment.project, live.deployment.name), ()):
            target = min(group, key=lambda each: self._gateway.router.in_flight.get(each.id, 0))
            if live.wish.adapter and adapters.on(target, live.wish.adapter) is None:
                continue
            if live.target.target == target.target or not _is_chosen(live, target):
                continue
            if not self._has_room(target):
                self._gateway.metrics.shadows.labels(target.id, "no_room").inc()
                continue
            task = asyncio.create_task(self._copy(live, target, key, seconds))
            self.running.setdefault(target.base_url, set()).add(task)
            task.add_done_callback(lambda done, url=target.base_url: self._done(url, done))  # type: ignore[misc]

    def give_way(self, target: Target) -> None:
        """A real request comes to `target`: a copy goes where there is no place for both."""
        tasks = self.running.get(target.base_url)
        if tasks and not self._has_place(target):
            tasks.pop().cancel()

    def stop(self) -> None:
        for tasks in self.running.values():
            for task in tasks:
                task.cancel()

    def _has_room(self, target: Target) -> bool:
        running = sum(len(tasks) for tasks in self.running.values())
        return running < self._gateway.settings.shadow_requests and self._has_place(target)

    def _has_place(self, target: Target) -> bool:
        """Whether the engine could take one more at once; other targets may be on the same engine."""
        try:
            pool, _ = self._gateway.pools.of(target.base_url, target.chosen_by_user)
        except UpstreamRefused:
            return False
        turns = self._gateway.turns.of(target)
        return not pool.waiting and not turns.waiting and (not turns.places or pool.busy < turns.places)

    def _done(self, url: str, task: asyncio.Task[None]) -> None:
        tasks = self.running.get(url, set())
        tasks.discard(task)
        if not tasks:
            self.running.pop(url, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a shadow's copy broke", exc_info=error)

    async def _copy(self, live: Exchange, target: Target, key: Key, seconds: float) -> None:
        copy = Exchange(self._gateway, Unseen(), live.dialect, live.asking, live.deployment, live.wish, "")
        failure = ""
        try:
            async with asyncio.timeout(self._gateway.settings.first_byte_seconds):
                await copy.ask_unseen(target)
        except (UpstreamError, UpstreamRefused, TimeoutError) as error:
            failure = type(error).__name__
        except asyncio.CancelledError:
            self._gateway.metrics.shadows.labels(target.id, "gave_way").inc()
            raise
        copy.answer.settle()
        self._gateway.metrics.shadows.labels(target.id, "failed" if failure else "answered").inc()
        self._gateway.metrics.shadow_tokens.labels(target.id).inc(copy.answer.total_tokens)
        took = self._gateway.clock() - copy.asked
        self._gateway.keep(_record(self._gateway, live, copy, key, (seconds, took), failure))


def _is_chosen(live: Exchange, target: Target) -> bool:
    """All of a session's requests or none, so that conversations are compared as wholes. Salted, so that a shadow's
    share is not the same sessions as a split's.
    """
    who = live.wish.session or live.id.encode()
    salt = (target.variant or target.id).encode()
    return int.from_bytes(blake2b(who + salt, digest_size=4).digest(), "big") * 100 < target.shadow_percent << 32


def _record(
    gateway: Gateway, live: Exchange, copy: Exchange, key: Key, seconds: tuple[float, float], failure: str
) -> CompletionRecord:
    target, answer, ask = copy.target, copy.answer, copy.asking
    assert target is not None
    snapshot, project = gateway.snapshot, live.deployment.project
    keeps = not failure and ask.may_keep and snapshot is not None and snapshot.keeps_completions(project)
    return CompletionRecord(
        id=copy.id,
        project=project,
        deployment=live.deployment.resource,
        target=target.target,
        model_version=target.model_version,
        variant=target.variant,
        api_key=key.name,
        messages=(ask.messages() or []) if keeps else [],
        parameters=ask.parameters() if keeps else {},
        answer=answer.text if keeps else "",
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        total_tokens=answer.total_tokens,
        ttft_ms=round((answer.first_token - copy.asked) * 1000, 3) if answer.first_token else 0.0,
        duration_ms=round(seconds[1] * 1000, 3),
        time=time.time(),
        streamed=ask.stream,
        shadow_of=live.id,
        comparison=_comparison(live.answer.text, answer.text, seconds, failure),
    )


def _comparison(live: str, shadow: str, seconds: tuple[float, float], failure: str) -> dict[str, Any]:
    """As `ShadowPair` keeps it."""
    return {
        "agrees": not failure and comparing.agree(live, shadow),
        "similarity": 0.0 if failure else round(comparing.similarity(live, shadow), 6),
        "length": len(live),
        "shadow_length": len(shadow),
        "duration_ms": round(seconds[0] * 1000, 3),
        "shadow_duration_ms": round(seconds[1] * 1000, 3),
        "failure_reason": failure,
    }
