"""One completion, from the parsed request to its record: choose a target, ask it, pass on what it says.

Another target is tried as long as nothing has gone out to the client. A coroutine decides; the bytes of an answer
flow through callbacks (`Attempt`), with no task switch and no queue in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.inference_gateway.engines.wire import OPENAI, WIRES
from services.inference_gateway.proxy import answering, errors, fairness, wire
from services.inference_gateway.proxy.answering import Answer, StreamRewriter
from services.inference_gateway.proxy.asking import Asking
from services.inference_gateway.proxy.attempt import Attempt, Refusal, TooSlow
from services.inference_gateway.proxy.dialects import Dialect
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.pool import Pool, PoolFull
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.routing import VERSION_HEADER, Wish
from services.inference_gateway.proxy.snapshot import Deployment, Target, TargetState
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.turns import Busy
from services.inference_gateway.proxy.upstream import ClosedEarly, ConnectFailed, Garbage, UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.gateway import Gateway

STREAM_TYPE = "text/event-stream; charset=utf-8"


class Exchange:
    """`answer` and `target` tell afterwards what came of it; `status` is what the client got (499: it left)."""

    def __init__(
        self,
        gateway: Gateway,
        reply: Reply,
        dialect: Dialect,
        asking: Asking,
        deployment: Deployment,
        wish: Wish,
        trace: str,
    ) -> None:
        self.gateway = gateway
        self.reply = reply
        self.dialect = dialect
        self.asking = asking
        self.deployment = deployment
        self.wish = wish
        self.trace = trace
        self.id = dialect.new_id()
        self.headers = {"x-request-id": self.id}
        self.target: Target | None = None
        self.answer = Answer()
        self._rewriter: StreamRewriter | None = None
        self.on_begin: Callable[[], None] | None = None
        self.work = 0
        self.aside = False  # it waits until nobody else does
        self.started = gateway.clock()

    async def run(self) -> None:
        """Raises: ApiError where nothing went out yet; an answer that broke off later says so itself."""
        try:
            async with asyncio.timeout(self.gateway.settings.total_seconds):
                await self._until_one_answers()
        except TimeoutError:
            seconds = self.gateway.settings.total_seconds
            self._broken(errors.upstream_timeout(f"not done after {seconds:g} s"))

    async def _until_one_answers(self) -> None:
        tried: list[str] = []
        failure: ApiError | None = None
        while len(tried) < self.gateway.settings.max_attempts:
            if tried:
                self._look_again()
            target = self.gateway.router.choose(self.deployment, self.wish, tried, self.asking.prefix)
            if target is None:
                break
            tried.append(target.id)
            self.target, self.answer, another = target, Answer(), True
            asked = self.gateway.clock()
            try:
                await self._ask(target)
                self.gateway.router.succeeded(target, self.gateway.clock() - asked)
                return
            except UpstreamRefused as error:
                failure = errors.upstream_misconfigured(str(error))
            except UpstreamError as error:
                failure, another = self._judged(error, target)
            if self.reply.started or not another:
                break
        self._broken(failure or errors.not_ready(self.asking.model))

    def _look_again(self) -> None:
        """A second attempt goes by the routes of now, for a target may have begun to drain since the first."""
        snapshot = self.gateway.snapshot
        now = snapshot and snapshot.deployments.get((self.deployment.project, self.deployment.name))
        if now:
            self.deployment = now

    async def _ask(self, target: Target) -> None:
        """Asks one target; a kept connection that died in the meantime is no fault of it, and is replaced once."""
        pool, base_path = self.gateway.pools.of(target.base_url, target.chosen_by_user)
        data = self._request(target, pool, base_path)
        turn = self.gateway.turns.of(target).turn(self.deployment.project, self.work, self._used_work, self.aside)
        with self.gateway.router.running(target):
            async with turn:
                try:
                    await self._ask_by(pool, data, fresh=False)
                except _Stale:
                    await self._ask_by(pool, data, fresh=True)

    def _used_work(self) -> int:
        return fairness.work(self.answer.prompt_tokens, self.answer.completion_tokens) or self.work

    async def _ask_by(self, pool: Pool, data: bytes, fresh: bool) -> None:
        connection = await pool.acquire(fresh)
        attempt = Attempt(self, connection)
        used_before = connection.requests > 0
        try:
            await attempt.run(data)
        except ClosedEarly as error:
            if used_before and not attempt.heard:
                raise _Stale from error
            raise
        finally:
            pool.release(connection)
            self.reply.on_pause = self.reply.on_resume = None

    def _request(self, target: Target, pool: Pool, base_path: str) -> bytes:
        """The bytes for one engine: our own headers, for the client's key and cookies are none of its business."""
        engine = WIRES.get(target.engine, OPENAI)
        path = base_path + engine.paths[self.asking.operation]
        body = self.asking.body_for(target.upstream_model or self.deployment.name, engine.stream_usage)
        lines = [
            f"POST {path} HTTP/1.1",
            f"host: {pool.origin.authority}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"accept: {'text/event-stream' if self.asking.stream else 'application/json'}",
            f"x-request-id: {self.id}",
        ]
        if target.upstream_key_ref:
            lines.append(f"authorization: Bearer {self.gateway.upstream_key(target.upstream_key_ref)}")
        if self.trace:
            lines.append(f"traceparent: {wire.header_safe(self.trace)}")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body

    def _judged(self, error: UpstreamError, target: Target) -> tuple[ApiError, bool]:
        """What the client hears of a failure, and whether another engine may do better: where this one is down or
        full, not where the request itself was refused or took long."""
        self.gateway.metrics.attempts.labels(target.id, type(error).__name__).inc()
        is_down = isinstance(error, (ConnectFailed, ClosedEarly)) or (
            isinstance(error, Refusal) and error.status in (502, 503, 504)
        )
        if is_down:
            self.gateway.router.failed(target)
        if is_down or isinstance(error, Garbage | TooSlow) or (isinstance(error, Refusal) and error.status >= 500):
            self.gateway.router.outcomes.failed(target.id)
        if is_down and target.state is TargetState.UNHEALTHY:  # nobody said that it answers
            return errors.not_ready(self.asking.model), True
        if isinstance(error, Refusal):
            return errors.from_upstream(error.status, error.body), is_down or error.status == 429
        if isinstance(error, TooSlow):
            return errors.upstream_timeout(error.detail), False
        if isinstance(error, Busy):
            return errors.engine_busy(error.seconds), True
        if isinstance(error, PoolFull):
            return errors.overloaded(f"The engine behind this model is busy: {error.detail}."), True
        return errors.upstream_failed(error.detail), True

    def _broken(self, failure: ApiError) -> None:
        """Before the first byte an error like any other; after it, an event of the stream, and a cut connection."""
        if not self.reply.started:
            raise failure
        if self.reply.ended:  # the time was over just as the last byte went out
            return
        self.answer.finish_reason = answering.UPSTREAM_ERROR
        self.reply.close_after()
        self.reply.end(self._rewriter.broken_off(failure.message, failure.code) if self._rewriter else b"")

    # -- what an attempt calls ---------------------------------------------------------------------------------------

    def begin_stream(self) -> None:
        if self.on_begin is not None:
            self.on_begin()
        headers = {"content-type": STREAM_TYPE, "cache-control": "no-cache", "x-accel-buffering": "no"}
        self.reply.start(200, headers | self._told())

    def rewriter(self) -> StreamRewriter:
        """Of a stream that begins."""
        self._rewriter = self.dialect.stream(
            self.id, self.asking, self.gateway.clock, self.gateway.settings.max_response_bytes
        )
        self.answer = self._rewriter.answer
        return self._rewriter

    def send_whole(self, raw: bytes) -> None:
        """Raises: Garbage."""
        body, self.answer = self.dialect.whole(raw, self.id, self.asking)
        self.reply.send(200, body, self._told())

    def _told(self) -> dict[str, str]:
        """Headers of an answer: which version gave it, beside what every reply has."""
        version = self.target.version if self.target else ""
        return self.headers | {VERSION_HEADER: version} if version else self.headers


class _Stale(UpstreamError):
    """A kept connection was closed by the engine just as it was used again."""

    def __init__(self) -> None:
        super().__init__("the kept connection was closed")
