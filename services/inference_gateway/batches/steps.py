"""The steps of a batch before and after its lines are asked: its input checked, its results written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
from gyre.dataset.v1 import version_pb2
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.errors import DomainError, from_rpc
from gyre_kit.names import last
from gyre_kit.reconcile import Claim, lease

from services.inference_gateway.batches import files
from services.inference_gateway.batches import lines as batch_lines
from services.inference_gateway.batches import rows as batch_rows
from services.inference_gateway.batches import scratch as batch_files
from services.inference_gateway.batches import service as batches
from services.inference_gateway.batches.files import Stored
from services.inference_gateway.models.batches import BatchState, InferenceBatch

HURRYING = 0.5  # seconds between two looks at a version that is being imported
LEASE_SECONDS = 300.0  # a long file takes its time
# Answers of the dataset service that stay the same, however often it is asked.
FINAL = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
)
STEPS = (BatchState.VALIDATING, BatchState.FINALIZING, BatchState.CANCELLING)


async def advance_batches(context: Context) -> bool:
    """Brings one batch a step further. What will never succeed fails it; all else is tried again."""
    where = InferenceBatch.state.in_(STEPS)
    async with lease(context.db, InferenceBatch, where, seconds=LEASE_SECONDS, again_in=HURRYING) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            try:
                return await _step(context, claim)
            except (DomainError, grpc.aio.AioRpcError) as error:
                known = error if isinstance(error, DomainError) else from_rpc(error)
                if known.code not in FINAL or claim.row.state == BatchState.CANCELLING:
                    raise
                await _fail(context, claim, known.reason, known.message)
            except FileNotFoundError:
                await _fail(context, claim, "FILE_NOT_FOUND", "The input file is gone from the object store.")
    return True


async def _step(context: Context, claim: Claim[InferenceBatch]) -> bool:
    """True if there is more to do at once."""
    batch = claim.row
    if batch.state == BatchState.FINALIZING and batch.result_version:
        return await _follow(context, claim)
    async with batch_files.scratch(context) as folder:
        if batch.state == BatchState.VALIDATING:
            await (_check if batch.input_file else _read_source)(context, claim, folder)
        else:
            await _write_results(context, claim, folder)
    return True


async def _read_source(context: Context, claim: Claim[InferenceBatch], folder: Path) -> None:
    """The rows become a file as a client would send it."""
    batch = claim.row
    path = await batch_files.write_source(context, batch, folder)
    file_id = files.new_id()
    stored = await batch_files.store(context, files.key_of(batch.project, file_id), path)
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        filename = f"{batch.source_version.split('/')[3]}-{last(batch.source_version)}.jsonl"
        files.add(session, batch.project, file_id, filename, files.INPUT, batch.created_by, stored)
        row.input_file, row.due = file_id, None


async def _check(context: Context, claim: Claim[InferenceBatch], folder: Path) -> None:
    batch = claim.row
    path = await batch_files.fetch_input(context, batch, folder)
    count, errors = await asyncio.to_thread(batch_lines.check, path, batch.endpoint, batch_files.bounds(context))
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if row.state != BatchState.VALIDATING:
            return  # cancelled in the meantime
        if errors:
            await batches.refuse(session, row, errors)
        else:
            await batches.begin(session, row, count)
    context.wake()


async def _write_results(context: Context, claim: Claim[InferenceBatch], folder: Path) -> None:
    """1 put them together, 2 the files, 3 the rows of the new version, if there is to be one."""
    batch = claim.row
    results = await batch_files.gather(context, batch, folder)
    wants_version = results.rows is not None and results.completed and batch.state == BatchState.FINALIZING
    made = {}
    if not batch.output_file and not batch.error_file:
        paths = {
            "output": results.output if results.completed else None,
            "error": results.errors if results.failed else None,
        }
        made = {kind: await _store(context, batch, path) for kind, path in paths.items() if path}
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        for kind, (file_id, stored) in made.items():
            filename = f"{last(batch.name)}_{kind}.jsonl"
            files.add(session, batch.project, file_id, filename, files.OUTPUT, batch.created_by, stored)
            setattr(row, f"{kind}_file", file_id)
        row.completed_count, row.failed_count = results.completed, results.failed
        row.model_versions = results.model_versions
        if not wants_version:
            await batches.finish(session, row)
    if not wants_version:
        await batch_files.forget_parts(context, batch)
        return
    await _create_version(context, claim, results)


async def _store(context: Context, batch: InferenceBatch, path: Path) -> tuple[str, Stored]:
    file_id = files.new_id()
    return file_id, await batch_files.store(context, files.key_of(batch.project, file_id), path)


async def _create_version(context: Context, claim: Claim[InferenceBatch], results: batch_files.Results) -> None:
    batch = claim.row
    assert results.rows is not None
    rows = await batch_files.store(context, batch_files.object_key(batch, "answered.jsonl"), results.rows)
    version = await batch_rows.create_version(context.clients, batch, results.model_versions, rows.uri)
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        row.result_version = version


async def _follow(context: Context, claim: Claim[InferenceBatch]) -> bool:
    """True when the batch is decided; False lets it rest until the next look."""
    version = await batch_rows.version(context.clients, claim.row.result_version)
    if version.state not in (version_pb2.Version.STATE_READY, version_pb2.Version.STATE_FAILED):
        return False
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if version.state == version_pb2.Version.STATE_FAILED:
            await batches.fail(session, row, version.failure_reason, version.failure_message)
        else:
            await batches.finish(session, row)
    await batch_files.forget_parts(context, claim.row)
    return True


async def _fail(context: Context, claim: Claim[InferenceBatch], reason: str, message: str) -> None:
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if row.state in (BatchState.VALIDATING, BatchState.FINALIZING):
            await batches.fail(session, row, reason, message)
    await batch_files.forget_parts(context, claim.row)
