"""What a worker answers: the table of paths, who may ask, and what is noted of each completion."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from services.inference_gateway.proxy import (
    access,
    answering,
    asking,
    counting,
    dialects,
    errors,
    exact_cache,
    listing,
    parts,
    redaction,
    routing,
    spans,
    stored,
    templates,
    upstream_keys,
    wire,
)
from services.inference_gateway.proxy.capture import record_of
from services.inference_gateway.proxy.care import Care
from services.inference_gateway.proxy.control import ControlClient, ControlFailed
from services.inference_gateway.proxy.dialects import Dialect
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.exact_cache import ExactCache
from services.inference_gateway.proxy.exchange import Exchange
from services.inference_gateway.proxy.hot_adapters import HotAdapters
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.limits import Limiter
from services.inference_gateway.proxy.metrics import Metrics
from services.inference_gateway.proxy.newcomers import Newcomers
from services.inference_gateway.proxy.occurrences import Occurrences
from services.inference_gateway.proxy.parts import HeldReply, PartWriter
from services.inference_gateway.proxy.pool import Pools
from services.inference_gateway.proxy.records import CompletionRecord, Spool
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.sent_out import SentOut
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.shadow import Shadows
from services.inference_gateway.proxy.sleepers import Sleepers
from services.inference_gateway.proxy.snapshot import Key, Snapshot
from services.inference_gateway.proxy.spool import Uploads
from services.inference_gateway.proxy.ssrf import UpstreamRefused
from services.inference_gateway.proxy.turns import AllTurns
from services.inference_gateway.proxy.usage import UsageMeter
from services.inference_gateway.proxy.wire import Request

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exporting import SpanExporter

log = logging.getLogger(__name__)
CLIENT_LEFT = 499
MODELS = "/v1/models"

Answerer = Callable[["Gateway", Request, Reply], Awaitable[None]]


class Gateway:
    """One worker's answers. `snapshot` is replaced whole; a request that runs keeps the one with which it began."""

    def __init__(
        self,
        settings: ProxySettings,
        metrics: Metrics,
        records: Spool,
        control: ControlClient,
        ledger: Ledger,
        paths: Paths,
        clock: Callable[[], float] = time.monotonic,
        sessions: SessionLedger | None = None,
        exporter: SpanExporter | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = clock
        self.pools = Pools(settings, clock)
        self.router = routing.Router(clock, sessions)
        self.turns = AllTurns(settings, clock)
        self.shadows = Shadows(self)
        self.sent_out = SentOut(metrics.sent_out)
        self.found = Occurrences()
        self.cache = ExactCache(settings.cache_bytes, clock)
        self.snapshot: Snapshot | None = None
        self.draining = False
        self._records = records
        self._exporter = exporter
        self._control = control
        self.limiter = Limiter(ledger, settings.assumed_answer_tokens)
        self.usage = UsageMeter()
        self._newcomers = Newcomers(control, clock)
        self.hot_adapters = HotAdapters(control, settings, clock)
        self.sleepers = Sleepers(control, settings, clock, metrics.woken_seconds.observe)
        self._uploads = Uploads(paths.uploads, settings.max_upload_bytes, settings.max_uploads)
        self._parts = PartWriter(paths.batches)

    def use(self, snapshot: Snapshot) -> None:
        """Swaps the picture, and drops what belonged to things that are gone."""
        self.snapshot = snapshot
        targets = [target for each in snapshot.deployments.values() for target in each.targets]
        known = {target.id for target in targets} | {target.target for target in targets}
        self.router.forget_others(known)
        self.turns.forget_others(known)
        self.hot_adapters.forget_others(known)
        self.pools.forget_others({(target.base_url, target.chosen_by_user) for target in targets} | snapshot.hooks())
        self.shadows.use(snapshot)
        self.router.outliers.use(snapshot)
        self.metrics.snapshot_revision.set(snapshot.revision)
        self._newcomers.came()
        self.sleepers.came()

    # -- what the server calls ---------------------------------------------------------------------------------------

    def admit(self, request: Request) -> None:
        """Path, method and key, before the body is read: who may not ask cannot make us hold ten megabytes.

        A key that is new to us is asked about when the request is here (`handle`), within `Newcomers`' bounds.
        """
        try:
            _route(request)
            if _needs_key(request):
                request.caller = self._caller(request)
            if request.method == "POST" and request.path == stored.FILES:
                request.spool = self._uploads.begin()
        except ApiError as error:
            self._count(request, error.status)
            raise

    async def handle(self, request: Request, reply: Reply) -> None:
        status = CLIENT_LEFT
        try:
            if request.caller is None and _needs_key(request):
                request.caller = await self._introduced(request)
            await _route(request)(self, request, reply)
            status = reply.status
        except ApiError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            raise
        except Exception:
            status = 500
            raise
        finally:
            self._count(request, status)

    # -- one function a path -----------------------------------------------------------------------------------------

    async def health(self, request: Request, reply: Reply) -> None:
        """For load balancers: 503 until there are routes, and while the worker drains."""
        ready = self.snapshot is not None and not self.draining
        revision = self.snapshot.revision if self.snapshot else 0
        status = "ok" if ready else "draining" if self.draining else "starting"
        reply.send(200 if ready else 503, json.dumps({"status": status, "snapshot_revision": revision}).encode())

    async def models(self, request: Request, reply: Reply) -> None:
        snapshot, key = self._routes(), access.known(request)
        deployments = snapshot.models_of(access.project(request, snapshot))
        listed = [model for each in deployments if each.targets for model in listing.models(each, key)]
        reply.send(200, json.dumps({"object": "list", "data": listed}).encode(), wire.request_id())

    async def model(self, request: Request, reply: Reply) -> None:
        name = unquote(request.path[len(MODELS) + 1 :])
        snapshot, key = self._routes(), access.known(request)
        deployment, _ = routing.resolve(snapshot, access.project(request, snapshot), name, {}, key.name)
        reply.send(200, json.dumps(listing.model(deployment) | {"id": name}).encode(), wire.request_id())

    def chat(self, request: Request, reply: Reply) -> Awaitable[None]:
        return self._complete(dialects.CHAT, request, reply)

    def text(self, request: Request, reply: Reply) -> Awaitable[None]:
        return self._complete(dialects.TEXT, request, reply)

    def embeddings(self, request: Request, reply: Reply) -> Awaitable[None]:
        return self._complete(dialects.EMBEDDINGS, request, reply)

    def responses(self, request: Request, reply: Reply) -> Awaitable[None]:
        return self._complete(dialects.RESPONSES, request, reply)

    async def input_tokens(self, request: Request, reply: Reply) -> None:
        """How many tokens a response's input would have."""
        snapshot, project = self._routes(), self._counted(request)
        ask = dialects.RESPONSES.parse(request.body)
        if ask.template is not None:
            templates.fill(ask, snapshot.policy_of(project), project)
        deployment, wish = routing.resolve(snapshot, project, ask.model, request.headers)
        await counting.answer(self, ask, deployment, wish, reply)

    async def feedback(self, request: Request, reply: Reply) -> None:
        """Handed to the control plane as it came, with who said it."""
        key, project = access.known(request), self._counted(request)
        asking.load(request.body)  # what is no object of bounded depth is refused here, as everywhere
        envelope = {"project": project, "api_key": key.name, "role": key.role}
        try:
            status, body = await self._control.call("/feedback", request.body, envelope)
        except ControlFailed as error:
            raise errors.overloaded(f"Feedback cannot be taken now ({error}).") from error
        reply.send(status, body, wire.request_id())

    async def spans(self, request: Request, reply: Reply) -> None:
        """An application's own spans, by OTLP/HTTP."""
        await spans.take(self._control, self._counted(request), request, reply)

    async def stored(self, request: Request, reply: Reply) -> None:
        """Files and batches: handed to the control plane as they came, with who asks."""
        key, project = access.known(request), access.project(request, self._routes())
        self.limiter.count_request(key, project, self._routes().limits_of(project))
        envelope = {
            "project": project,
            "api_key": key.name,
            "role": key.role,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "content_type": request.headers.get("content-type", ""),
            "spool": str(request.spool.path) if request.spool else "",
        }
        try:
            await self._control.relay(stored.PATH, request.body, envelope, reply, self.settings.upload_seconds)
        except ControlFailed as error:
            raise errors.overloaded(f"Files and batches cannot be reached now ({error}).") from error

    # -- completions -------------------------------------------------------------------------------------------------

    async def _complete(self, dialect: Dialect, request: Request, reply: Reply) -> None:
        """1 parse, 2 route, 3 reserve, 4 ask, 5 settle, 6 note."""
        key, snapshot = access.known(request), self._routes()
        project = access.project(request, snapshot)
        limits = snapshot.limits_of(project)
        try:
            ask = dialect.parse(request.body)
            request.body = b""  # `ask` has it
            line = parts.line_of(request, ask.stream) if key.batch else 0
            policy = snapshot.policy_of(project)
            if ask.template is not None:
                templates.fill(ask, policy, project)
            deployment, wish = routing.resolve(snapshot, project, ask.model, request.headers, key.name)
        except ApiError as error:  # what is wrong counts as well
            error.headers = error.headers | self.limiter.count_request(key, project, limits)
            raise
        hold = self.limiter.reserve(key, project, limits, ask, deployment)
        out = HeldReply(reply) if key.batch else reply
        exchange = Exchange(self, out, dialect, ask, deployment, wish, request.headers.get("traceparent", ""))
        exchange.headers |= hold.headers
        exchange.on_begin = None if key.batch else hold.answered  # a batch asks again what it has no part of
        exchange.work, exchange.aside = hold.work, bool(key.batch)
        if ask.may_keep and snapshot.keeps_completions(project):
            exchange.on_whole = lambda: self._record(exchange, request, key, "")
        if self._exporter is not None:
            self._exporter.begin(exchange, request)
        if policy is not None:
            exchange.care = Care(policy, exchange, request.headers.get(exact_cache.HEADER, ""))
        error_type = "cancelled"
        try:
            await (exchange.run() if exchange.care is None else exchange.care.run())
            if isinstance(out, HeldReply):
                await out.keep(self._parts, key.batch, line, exchange.target.model_version if exchange.target else "")
            error_type = answering.UPSTREAM_ERROR if exchange.answer.finish_reason == answering.UPSTREAM_ERROR else ""
        except ApiError as error:
            error_type = error.code
            error.headers = error.headers | exchange.headers
            raise
        except asyncio.CancelledError:
            exchange.answer.finish_reason = answering.CLIENT_CLOSED
            raise
        finally:
            exchange.answer.settle()
            bill = hold.settle(exchange.answer, exchange.target, exchange.reply.started and not exchange.is_free)
            if bill.tokens and exchange.target:
                self.usage.add(key.name, exchange.deployment, exchange.target, bill)
            self._note(exchange, request, project, error_type)
            is_told = out.started or error_type != "cancelled"
            if exchange.on_whole is not None and is_told:  # it never came to its end
                self._record(exchange, request, key, error_type)
            if self.shadows.plans and reply.ended and not error_type:
                self.shadows.after(exchange, key)
        if isinstance(out, HeldReply):
            out.release()

    def _note(self, exchange: Exchange, request: Request, project: str, error_type: str) -> None:
        target, answer = exchange.target, exchange.answer
        now = self.clock()
        version = target.version if target else ""
        model = (project, exchange.asking.operation, exchange.deployment.name, version)
        if self._exporter is not None:
            self._exporter.end(exchange, request, error_type, now)
        series = self.metrics.of(model)
        series.seconds(error_type).observe(now - request.received)
        if answer.first_token:
            series.first_token.observe(answer.first_token - request.received)
            if answer.completion_tokens > 1:
                series.output_token.observe((now - answer.first_token) / (answer.completion_tokens - 1))
        if answer.total_tokens:
            series.tokens_in.observe(answer.prompt_tokens)
            series.tokens_out.observe(answer.completion_tokens)
            if answer.cached_tokens:
                series.tokens_cached.inc(answer.cached_tokens)

    def _record(self, exchange: Exchange, request: Request, key: Key, error: str) -> None:
        """Whatever is wrong with keeping it, the client gets its answer."""
        if exchange.target is None:  # no engine was asked
            return
        try:
            record = record_of(exchange, request, key, self.clock(), error)
            if record is None:
                self.metrics.records.labels("not_text").inc()
                return
            self.keep(record)
        except Exception:
            self.metrics.records.labels("failed").inc()
            log.exception("a completion cannot be kept", extra={"completion": exchange.id})

    def keep(self, record: CompletionRecord) -> None:
        """Without personal data, where the project does not keep that."""
        if not self._routes().keeps_personal_data(record.project):
            record = redaction.redacted(record)
        self._records.put(record)

    # -- small things ------------------------------------------------------------------------------------------------

    def upstream_key(self, ref: str) -> str:
        """The key that a deployment names. Raises: UpstreamRefused."""
        key = upstream_keys.upstream_key(ref)
        if not key:
            setting = upstream_keys.setting_of(ref)[:80]
            raise UpstreamRefused(f"the setting {setting}, which should hold its key, is not set for the gateway")
        return key

    def _caller(self, request: Request) -> Key | None:
        """None if it may be a key that was made a moment ago. Raises: ApiError 401."""
        digest = access.digest(request)
        key = self._routes().keys.get(digest)
        if key is None and access.is_small(request) and self._newcomers.may_ask(digest):
            return None
        return access.valid(key)

    async def _introduced(self, request: Request) -> Key:
        """The holder of a key that came after our snapshot. Raises: ApiError 401."""
        digest = access.digest(request)
        if digest not in self._routes().keys:
            await self._newcomers.ask(digest)
            await self._newcomers.until(lambda: digest in self._routes().keys)
        return access.valid(self._routes().keys.get(digest))

    def _counted(self, request: Request) -> str:
        """The project of a request that asks no engine, counted. Raises: ApiError 429."""
        key, project = access.known(request), access.project(request, self._routes())
        self.limiter.count_request(key, project, self._routes().limits_of(project))
        return project

    def _routes(self) -> Snapshot:
        if self.snapshot is None:
            raise errors.starting()
        return self.snapshot

    def _count(self, request: Request, status: int) -> None:
        self.metrics.answered(request.path if request.path in ROUTES else _label(request.path), status)


ROUTES: dict[str, dict[str, Answerer]] = {
    "/v1/chat/completions": {"POST": Gateway.chat},
    "/v1/completions": {"POST": Gateway.text},
    "/v1/embeddings": {"POST": Gateway.embeddings},
    "/v1/responses": {"POST": Gateway.responses},
    "/v1/responses/input_tokens": {"POST": Gateway.input_tokens},
    "/v1/feedback": {"POST": Gateway.feedback},
    "/v1/traces": {"POST": Gateway.spans},
    MODELS: {"GET": Gateway.models},
    "/health": {"GET": Gateway.health, "HEAD": Gateway.health},
}


def _route(request: Request) -> Answerer:
    """Raises: ApiError 404 or 405."""
    methods = ROUTES.get(request.path)
    if methods is None and request.path.startswith(f"{MODELS}/"):
        methods = {"GET": Gateway.model}
    if methods is None and (template := stored.template_of(request.path)):
        methods = dict.fromkeys(stored.METHODS[template], Gateway.stored)
    if methods is None:
        raise errors.unknown_path(request.path)
    if request.method not in methods:
        raise errors.method_not_allowed(request.method, ", ".join(methods))
    return methods[request.method]


def _label(path: str) -> str:
    """One time series a kind of path, whatever strangers ask for."""
    return MODELS if path.startswith(MODELS) else stored.template_of(path) or "other"


def _needs_key(request: Request) -> bool:
    return request.path != "/health"
