"""The data plane, as the control plane holds it: started with the service, fed with what it needs."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
from gyre.feedback.v1 import feedback_pb2, feedback_service_pb2
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.render import enum_number
from sqlalchemy.exc import DataError, IntegrityError

from services.inference_gateway import store
from services.inference_gateway.adapters import hot as hot_adapters
from services.inference_gateway.batches import stored_api
from services.inference_gateway.comparing import shadows
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.projects import refresh_keys
from services.inference_gateway.proxy.control import FeedbackCall, SpansCall
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.shipper import RecordsRefused
from services.inference_gateway.proxy.usage import UsageLine
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.replicas.returning import returning
from services.inference_gateway.replicas.scaling import Scaler
from services.inference_gateway.rollouts.watching import Watch
from services.inference_gateway.traces import completions, otlp
from services.inference_gateway.traces import service as traces
from services.inference_gateway.usage import service as usage

RATINGS = {"thumbs_up": "THUMBS_UP", "up": "THUMBS_UP", "thumbs_down": "THUMBS_DOWN", "down": "THUMBS_DOWN"}
FIELDS = ("completion_id", "rating", "correction", "comment", "slice", "user", "request_id")
NO_CONSENT = "The project did not consent to keeping what is asked and answered, so no spans are kept either."
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
}


@asynccontextmanager
async def serving_openai(context: Context) -> AsyncIterator[None]:
    """The workers on the OpenAI port; returns when they answer."""
    paths, settings = Paths(context.settings.resolved_home), ProxySettings()
    pool = ProxyPool(
        settings,
        paths,
        context.settings.bind,
        context.settings.openai_port,
        record=lambda records: store_records(context, records),
        store_usage=lambda segment, lines: store_usage(context, segment, lines),
        on_feedback=lambda call: submit_feedback(context, call),
        on_spans=lambda call: store_spans(context, call),
        knows_key=lambda digest: knows_key(context, digest),
        on_wake=lambda target: wake(context, target),
        on_stored=lambda call, reply: stored_api.answer(context, call, reply),
        on_adapter=lambda replica, adapter: hot_adapters.use(context, replica, adapter),
        registry=context.metrics.registry,
    )
    async with aiohttp.ClientSession() as http:
        context.state |= {"http": http, "pool": pool, "paths": paths, "hidden": {}, "ledger": Ledger(paths.ledger)}
        context.state["gauges"] = Gauges(context.metrics.registry)
        context.state |= {
            "keys_lock": asyncio.Lock(),
            "publishing": asyncio.Lock(),
            "watch": Watch(),
            "experiment_watch": Watch(),
            "scaler": Scaler(),
            "held_adapters": hot_adapters.Held(),
        }
        context.state["sessions"] = SessionLedger(paths.sessions, settings.session_seconds)
        context.state["batch_secret"] = secrets.token_bytes(32)
        context.state["returning"] = await returning(context)
        async with pool:
            yield
        context.state["ledger"].close()
        context.state["sessions"].close()


async def store_records(context: Context, records: Sequence[CompletionRecord]) -> None:
    """Raises: RecordsRefused for records that the database will never take."""
    try:
        async with context.db.transaction() as session:
            kept = [record for record in records if record.messages or not record.comparison]
            await completions.keep(session, [completions.from_record(record) for record in kept])
            await shadows.keep(session, records)
    except (DataError, IntegrityError) as error:
        raise RecordsRefused(str(error)[:300]) from error


async def store_spans(context: Context, call: SpansCall) -> tuple[int, Any]:
    """`POST /v1/traces`: what an application tells of its own steps, kept where its project consented."""
    try:
        export = otlp.parse(call.body, call.content_type, call.encoding, call.project)
    except otlp.BadSpans as error:
        return _problem(400, error.message, "invalid_spans")
    async with context.db.transaction() as session:
        project = await store.project(session, call.project)
        if project is None or not (project.active and project.consent_to_keep):
            return 200, {"rejected": len(export.spans) + export.rejected, "reason": NO_CONSENT}
        kept = export.spans if project.keep_personal_data else [otlp.redacted(span) for span in export.spans]
        await traces.add(session, spans=kept)
    return 200, {"rejected": export.rejected, "reason": export.reason}


async def store_usage(context: Context, segment: str, lines: Sequence[UsageLine]) -> None:
    async with context.db.transaction() as session:
        is_new = await usage.keep(session, segment, lines)
    if is_new:
        context.state["gauges"].count_cost(lines)


async def knows_key(context: Context, digest: str) -> bool:
    """Asks api_gateway about a key that no event has told of yet. Many who ask at once share one answer."""
    asked_at = time.monotonic()
    async with context.state["keys_lock"]:
        if not await _holds(context, digest) and context.state.get("keys_read_at", 0.0) < asked_at:
            context.state["keys_read_at"] = time.monotonic()
            await refresh_keys(context)
    context.wake_event("publish_routes").set()
    return await _holds(context, digest)


async def wake(context: Context, target_id: str) -> None:
    """A request waits for a target that sleeps."""
    async with context.db.transaction() as session:
        if not await replicas.wake(session, target_id):
            return
    context.wake()


async def _holds(context: Context, digest: str) -> bool:
    async with context.db.transaction() as session:
        return await store.is_key(session, digest)


async def submit_feedback(context: Context, call: FeedbackCall) -> tuple[int, Any]:
    """`POST /v1/feedback`: what a client says about a completion, handed to the feedback service as that client."""
    try:
        request = _parse(call)
    except ValueError as error:
        return _problem(400, str(error), "invalid_feedback")
    identity = Identity(subject=call.api_key, project=call.project, role=Role[call.role])
    with acting_as(identity):
        try:
            feedback = await context.clients.stub(FeedbackServiceStub).SubmitFeedback(request)
        except grpc.aio.AioRpcError as error:
            known = from_rpc(error)
            return _problem(HTTP_STATUS.get(known.code, 503), known.message, known.reason.lower())
    said = events.to_dict(feedback)
    return 200, {name: said[name] for name in ("name", "number", "state", "completion", "rating")}


def _parse(call: FeedbackCall) -> feedback_service_pb2.SubmitFeedbackRequest:
    """Raises: ValueError, naming the field and what is allowed in it."""
    try:
        body = json.loads(call.body)
    except ValueError as error:
        raise ValueError(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise ValueError("The body must be a JSON object with completion_id and rating.")
    if unknown := sorted(set(body) - set(FIELDS)):
        raise ValueError(f"Unknown field {unknown[0]}; known are {', '.join(FIELDS)}.")
    for field in FIELDS:
        if field in body and body[field] is not None and not isinstance(body[field], str):
            raise ValueError(f"{field} must be a string.")
        if not _is_storable(body.get(field) or ""):
            raise ValueError(f"{field} holds a character that cannot be kept: NUL, or half of a surrogate pair.")
    rating = body.get("rating") or ""
    if rating and rating not in RATINGS:
        raise ValueError(f"rating is one of {', '.join(RATINGS)}.")
    return feedback_service_pb2.SubmitFeedbackRequest(
        parent=f"projects/{call.project}",
        completion=body.get("completion_id") or "",
        rating=enum_number(feedback_pb2.Feedback.Rating.DESCRIPTOR, RATINGS.get(rating, "NONE")),
        correction=body.get("correction") or "",
        comment=body.get("comment") or "",
        slice=body.get("slice") or "",
        submitter=body.get("user") or "",
        request_id=body.get("request_id") or "",
    )


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _problem(status: int, message: str, code: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
