"""Long work: feedback that waits for its completion, and batches on their way into dataset versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2, version_service_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.names import last
from gyre_kit.reconcile import lease
from gyre_kit.storage import digest_of

from services.feedback import service, store
from services.feedback.completions import find_completion
from services.feedback.models import Batch, BatchState, Feedback, FeedbackState


async def resolve_pending(context: Context) -> bool:
    """Joins one pending piece with its completion, or gives it up after `pending_minutes`."""
    async with lease(context.db, Feedback, Feedback.state == FeedbackState.PENDING, again_in=2.0) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            known = await find_completion(context.clients, claim.row.completion)
        too_old = context.clock.now() - claim.row.create_time > timedelta(minutes=context.settings.pending_minutes)
        async with context.db.transaction() as session:
            feedback = await claim.reload(session)
            if known is not None:
                await service.attach(session, feedback, known)
            elif too_old:
                await service.expire(session, feedback)
    return True


async def build_batches(context: Context) -> bool:
    """Brings one batch a step further: rows written → two versions asked for → both ready."""
    async with lease(context.db, Batch, Batch.state == BatchState.BUILDING, again_in=0.5) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            if not claim.row.rows_uri:
                await _write_rows(context, claim)
            elif not claim.row.sft_version:
                await _create_versions(context, claim)
            else:
                return await _follow_versions(context, claim)
    return True


async def _write_rows(context: Context, claim: Any) -> None:
    batch = claim.row
    async with context.db.transaction() as session:
        members = await store.of_batch(session, batch.name)
    rows, pairs = sft_rows(members), preference_rows(members)
    content = _jsonl(rows)
    uri = await context.store.put(_rows_key(batch), content)
    await context.store.put(_pairs_key(batch), _jsonl(pairs))
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        row.rows_uri, row.rows_digest = uri, digest_of(content)
        row.sft_count, row.preference_count = len(rows), len(pairs)


async def _create_versions(context: Context, claim: Any) -> None:
    """Asks for both versions by request ids of the batch, so that a repeated step asks for the same ones."""
    batch = claim.row
    sft = await _create_version(context, batch, batch.dataset, dataset_pb2.Dataset.TYPE_SFT, batch.rows_uri)
    preference = ""
    if batch.preference_count:
        pairs_uri = f"gyre://{_pairs_key(batch)}"
        kind = dataset_pb2.Dataset.TYPE_PREFERENCE
        preference = await _create_version(context, batch, f"{batch.dataset}-preferences", kind, pairs_uri)
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        row.sft_version, row.preference_version = sft, preference


async def _create_version(context: Context, batch: Batch, slug: str, kind: int, uri: str) -> str:
    datasets = context.clients.stub(DatasetServiceStub)
    parent = f"projects/{batch.project}"
    try:
        await datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(name=f"{parent}/datasets/{slug}"))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        await datasets.CreateDataset(
            dataset_service_pb2.CreateDatasetRequest(
                parent=parent,
                dataset_id=slug,
                display_name=slug,
                type=kind,
                origin="feedback on this platform",
                request_id=f"{last(batch.name)}-{slug}",
            )
        )
    version = await context.clients.stub(VersionServiceStub).CreateVersion(
        version_service_pb2.CreateVersionRequest(
            parent=f"{parent}/datasets/{slug}",
            source_uri=uri,
            split_settings=version_pb2.SplitSettings(test_fraction=0.0),
            derived_from=[batch.name],
            request_id=f"{last(batch.name)}-{slug}",
        )
    )
    return str(version.name)


async def _follow_versions(context: Context, claim: Any) -> bool:
    """True when the batch is decided; False lets it rest until the next look."""
    batch = claim.row
    stub = context.clients.stub(VersionServiceStub)
    names = [name for name in (batch.sft_version, batch.preference_version) if name]
    versions = [await stub.GetVersion(version_service_pb2.GetVersionRequest(name=name)) for name in names]
    failed = next((v for v in versions if v.state == version_pb2.Version.STATE_FAILED), None)
    if failed is None and any(v.state != version_pb2.Version.STATE_READY for v in versions):
        return False
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if failed is not None:
            await service.fail_batch(session, row, failed.failure_reason, failed.failure_message)
        else:
            await service.finish_batch(session, row)
    return True


def sft_rows(members: Sequence[Feedback]) -> list[dict[str, Any]]:
    """A correction, or an answer that was found good, becomes a conversation to learn from."""
    rows = []
    for feedback in members:
        wanted = feedback.correction or feedback.answer
        messages = [*feedback.messages, {"role": "assistant", "content": wanted}]
        rows.append(
            {"id": last(feedback.name), "messages": messages, "slice": feedback.slice, "feedback": feedback.name}
        )
    return rows


def preference_rows(members: Sequence[Feedback]) -> list[dict[str, Any]]:
    """A correction that differs from the answer becomes a pair: the correction is chosen, the answer rejected.

    An answer that was empty is no text to learn against.
    """
    return [
        {
            "id": last(feedback.name),
            "prompt": feedback.messages,
            "chosen": [{"role": "assistant", "content": feedback.correction}],
            "rejected": [{"role": "assistant", "content": feedback.answer}],
            "slice": feedback.slice,
            "feedback": feedback.name,
        }
        for feedback in members
        if feedback.correction and feedback.answer.strip() not in ("", feedback.correction.strip())
    ]


def _rows_key(batch: Batch) -> str:
    return f"feedback/batches/{last(batch.name)}.jsonl"


def _pairs_key(batch: Batch) -> str:
    return f"feedback/batches/{last(batch.name)}-preferences.jsonl"


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
