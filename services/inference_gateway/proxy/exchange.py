"""One completion, from the parsed request to its record: choose a target, ask it, pass on what it says.

Another target is tried as long as nothing has gone out to the client. A coroutine decides; the bytes of an answer
flow through callbacks (`Attempt`), with no task switch and no queue in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.inference_gateway.engines.wire import OPENAI, WIRES
from services.inference_gateway.proxy import adapters, answering, errors, fairness, fallbacks, hot_adapters, wire
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
from services.inference_gateway.proxy.tracing import Place
from services.inference_gateway.proxy.turns import Busy
from services.inference_gateway.proxy.upstream import ClosedEarly, ConnectFailed, Garbage, UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.care import Care
    from services.inference_gateway.proxy.gateway import Gateway

JSON, STREAM = "application/json", "text/event-stream"


class Exchange:
    """`answer` and `target` tell afterwards what came of it; `status` is what the client got (499: it left)."""

    __slots__ = (
        "_attempt",
        "_late",
        "_patience",
        "_rewriter",
        "_task",
        "answer",
        "aside",
        "asked",
        "asking",
        "care",
        "deployment",
        "dialect",
        "gateway",
        "headers",
        "id",
        "is_free",
        "on_begin",
        "on_whole",
        "place",
        "reply",
        "started",
        "target",
        "trace",
        "wish",
        "work",
    )  # fmt: skip

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
        self.place: Place | None = None  # where its span stands, if it has one
        self.id = dialect.new_id()
        self.headers = {"x-request-id": self.id}
        self.target: Target | None = None
        self.answer = Answer()
        self._rewriter: StreamRewriter | None = None
        self._patience: asyncio.Timeout | None = None  # ends when it is another deployment's turn
        self.on_begin: Callable[[], None] | None = None
        self.on_whole: Callable[[], None] | None = None
        self.work = 0
        self.aside = False  # it waits until nobody else does
        self.care: Care | None = None  # what the project's policy does to the answer
        self.is_free = False  # it came from the cache
        self.started = self.asked = gateway.clock()
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[None] | None = None
        self._late = False

    async def run(self) -> None:
        """Raises: ApiError where nothing went out yet; an answer that broke off later says so itself."""
        self._task = asyncio.current_task()
        self.reply.on_look = self._look
        try:
            failure = await self._answered()
            if failure is not None:
                self._broken(failure)
        except asyncio.CancelledError:
            if not self._late or self._task is None or self._task.uncancel():
                raise
            seconds = self.gateway.settings.total_seconds
            self._broken(errors.upstream_timeout(f"not done after {seconds:g} s"))
        finally:
            self.reply.on_look = None

    def _look(self, now: float) -> None:
        """Gives up what takes too long."""
        if now - self.started >= self.gateway.settings.total_seconds:
            if self._task is not None and not self._late:
                self._late = True
                self._task.cancel()
        elif self._attempt is not None:
            self._attempt.look(now)

    async def ask_unseen(self, target: Target) -> None:
        """Asks `target` alone, without a turn: for a shadow. Raises: UpstreamError; UpstreamRefused."""
        self.target, self.asked = target, self.gateway.clock()
        with self.gateway.router.running(target):
            await self._ask_on(target)

    async def _answered(self) -> ApiError | None:
        """By its own targets, or where none of them can, by those of its fallbacks. Returns why nobody did."""
        if self.deployment.fallbacks and not self.wish.version:
            return await fallbacks.ask(self)
        failure, _ = await self._ask_targets()
        return failure

    async def ask_patiently(self, seconds: float) -> tuple[ApiError | None, bool]:
        """As `_ask_targets`, but the first byte comes within `seconds` (0: whenever it comes)."""
        if not seconds:
            return await self._ask_targets()
        try:
            async with asyncio.timeout(seconds) as self._patience:
                return await self._ask_targets()
        except TimeoutError:
            if self.target is not None:
                self._judged(TooSlow("no first byte in time"), self.target)
            return errors.upstream_timeout(f"no first byte within {seconds:g} s"), True
        finally:
            self._patience = None

    async def _ask_targets(self) -> tuple[ApiError | None, bool]:
        """Returns why none of the deployment's targets answered (None: one did), and whether other engines may."""
        tried: list[str] = []
        failure: ApiError | None = None
        another = True
        while len(tried) < self.gateway.settings.max_attempts:
            if tried:
                self._look_again()
            target = self.gateway.router.choose(self.deployment, self.wish, tried, self.asking.prefix)
            if target is None:
                break
            if target.state is TargetState.ASLEEP:
                try:
                    await self.gateway.sleepers.wake(target, self.asking.model, self._awake)
                except ApiError as asleep:  # each has a name of its own: compiled, a name has one type
                    return asleep, True
                continue
            tried.append(target.id)
            self.target, self.answer, another = target, Answer(), True
            self.asked = self.gateway.clock()
            try:
                await self._ask(target)
                self._succeeded(target)
                return None, False
            except UpstreamRefused as refused:
                failure = errors.upstream_misconfigured(str(refused))
            except UpstreamError as error:
                failure, another = self._judged(error, target)
                if isinstance(error, TooSlow):  # asked again, the same model would take as long; another may not
                    return failure, True
            if self.reply.started or not another:
                break
        return failure or self._nobody(), another

    def _succeeded(self, target: Target) -> None:
        answer, asked = self.answer, self.asked
        first = answer.first_token - asked if answer.first_token else 0.0
        self.gateway.router.succeeded(target, self.gateway.clock() - asked, answer.completion_tokens, first)

    def _nobody(self) -> ApiError:
        """Why there is no target to ask."""
        deployment = self.deployment
        if deployment.refused_regions and not deployment.targets:
            return errors.region_refused(deployment.name, deployment.refused_regions)
        return errors.not_ready(self.asking.model)

    def _look_again(self) -> None:
        """A second attempt goes by the routes of now, for a target may have begun to drain since the first."""
        snapshot = self.gateway.snapshot
        now = snapshot and snapshot.deployments.get((self.deployment.project, self.deployment.name))
        if now:
            self.deployment = now

    def _awake(self, target: str) -> bool:
        """Goes by the routes of now."""
        self._look_again()
        return not any(each.id == target for each in self.deployment.targets)

    async def _ask(self, target: Target) -> None:
        hot = bool(self.wish.adapter) and target.engine in hot_adapters.ENGINES
        if hot:
            await self.gateway.hot_adapters.ready(target, self.wish.adapter)
        turn = self.gateway.turns.of(target).turn(self.deployment.project, self.work, self.aside)
        if self.gateway.shadows.running:
            self.gateway.shadows.give_way(target)
        with self.gateway.router.running(target):
            if not turn.begins():
                await turn.comes()
            try:
                await self._ask_on(target)
            except Refusal as refusal:
                if not hot or refusal.status != 404:
                    raise
                await self.gateway.hot_adapters.again(target, self.wish.adapter)
                await self._ask_on(target)
            finally:
                turn.ends(fairness.work(self.answer.prompt_tokens, self.answer.completion_tokens) or self.work)

    async def _ask_on(self, target: Target) -> None:
        """A kept connection may have died in the meantime, which is no fault of the engine: a new one is tried."""
        pool, base_path = self.gateway.pools.of(target.base_url, target.chosen_by_user)
        connection = pool.at_once() or await pool.acquire()
        while True:
            if target.sent_to:
                self.gateway.sent_out.count_prompt(self.deployment.project, target)
            attempt = self._attempt = Attempt(self, connection)
            was_kept = connection.requests > 0
            try:
                await attempt.run(self._request(target, pool, base_path))
                return
            except ClosedEarly:
                if not was_kept or attempt.heard:
                    raise
            finally:
                pool.release(connection)
                self._attempt = self.reply.on_pause = self.reply.on_resume = None
            connection = await pool.acquire(fresh=True)

    def _request(self, target: Target, pool: Pool, base_path: str) -> bytes:
        """The bytes for one engine: our own headers, for the client's key and cookies are none of its business."""
        engine = WIRES.get(target.engine, OPENAI)
        path = base_path + engine.paths[self.asking.operation]
        model, lora = target.upstream_model or self.deployment.name, None
        if target.adapters:
            said = adapters.said_to_engine(target, self.wish.adapter)
            model, lora = said.get("model", model), said.get("lora")
        body = self.asking.body_for(model, engine.stream_usage, lora)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {pool.authority}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            f"accept: {STREAM if self.asking.stream else JSON}\r\nx-request-id: {self.id}\r\n"
        )
        if target.upstream_key_ref:
            head += f"authorization: Bearer {self.gateway.upstream_key(target.upstream_key_ref)}\r\n"
        if self.trace:
            head += f"traceparent: {wire.header_safe(self.trace)}\r\n"
        return f"{head}\r\n".encode("latin-1", "replace") + body

    def _judged(self, error: UpstreamError, target: Target) -> tuple[ApiError, bool]:
        """What the client hears of a failure, and whether another engine may do better: where this one is down or
        full, not where the request itself was refused or took long."""
        self.gateway.metrics.attempts.labels(target.id, type(error).__name__).inc()
        is_down = isinstance(error, (ConnectFailed, ClosedEarly)) or (
            isinstance(error, Refusal) and error.status in (502, 503, 504)
        )
        if is_down:
            self.gateway.router.failed(target)
        refused = errors.from_upstream(error.status, error.body) if isinstance(error, Refusal) else None
        is_broken = isinstance(error, Refusal) and error.status >= 500 and refused is not None and refused.status >= 500
        if is_down or is_broken or isinstance(error, Garbage | TooSlow):
            self.gateway.router.erred(target)
        if is_down and target.state is TargetState.UNHEALTHY:  # nobody said that it answers
            return errors.not_ready(self.asking.model), True
        if refused is not None and isinstance(error, Refusal):
            return refused, is_down or error.status == 429
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
        self._begins()
        if (
            self.care is None and not self.gateway.shadows.plans
        ):  # nobody is asked again: a long prompt need not wait for a long answer's end
            self.asking.raw = b""
        headers = {"content-type": f"{STREAM}; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
        self.reply.start(200, headers | self._told())

    def rewriter(self) -> StreamRewriter:
        """Of a stream that begins."""
        self._rewriter = self.dialect.stream(
            self.id, self.asking, self.gateway.clock, self.gateway.settings.max_response_bytes
        )
        self.answer = self._rewriter.answer
        if self.care is not None:
            self.care.begin()
        return self._rewriter

    def whole(self) -> None:
        """The answer is at its end, which the client has not seen yet: what is kept of it is kept first."""
        if self.on_whole is not None:
            keep, self.on_whole = self.on_whole, None
            keep()

    def send_whole(self, raw: bytes) -> None:
        """Raises: Garbage."""
        if self.care is not None:
            self.care.begin()
            raw = self.care.whole(raw)
        body, self.answer = self.dialect.whole(raw, self.id, self.asking)
        self.whole()
        self._begins()
        self.reply.send(200, body, self._told())

    def _begins(self) -> None:
        """From now on the answer is this target's, and it is billed, come what may."""
        if self.on_begin is not None:
            self.on_begin()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None)

    def _told(self) -> dict[str, str]:
        """Headers of an answer: which version and adapter gave it, beside what every reply has."""
        version = self.target.version if self.target else ""
        told = self.headers | {VERSION_HEADER: version} if version else self.headers
        return told | {adapters.HEADER: self.wish.adapter} if self.wish.adapter else told
