"""Long work: imports and conversions as jobs, runs' outputs taken over, deleted bytes collected."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import grpc
from gyre.gpu_scheduler.v1 import workload_pb2, workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.errors import NotFound, Precondition, from_rpc
from gyre_kit.names import new_id
from gyre_kit.reconcile import lease
from gyre_kit.storage import key_of

from services.model_registry import adapters, files, intake, service, store, uploads, variants
from services.model_registry.models import Variant, VariantState, Version, VersionState

log = logging.getLogger(__name__)
MODULE = "services.model_registry.work"
CONVERSIONS = {"GGUF": "quantise", variants.COMPRESSED: "compress"}
Resources = dict[str, int]
ENDED = (workload_pb2.Workload.STATE_FAILED, workload_pb2.Workload.STATE_CANCELLED)


async def fill_versions(context: Context) -> bool:
    """Brings one importing version a step further."""
    where = Version.state == VersionState.IMPORTING
    async with lease(context.db, Version, where, again_in=0.5) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            if claim.row.run:
                return await _take_over(context, claim)
            return await _follow_import(context, claim)


async def make_variants(context: Context) -> bool:
    """Brings one variant a step further."""
    where = Variant.state == VariantState.CREATING
    async with lease(context.db, Variant, where, again_in=0.5) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            return await _follow_conversion(context, claim)


async def _take_over(context: Context, claim: Any) -> bool:
    version: Version = claim.row
    try:
        manifest = await intake.take_over(context.store, version.source, version.source_digest)
        failure = None
    except Precondition as error:
        manifest, failure = None, error
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if manifest is None:
            assert failure is not None
            await service.fail_version(session, row, failure.reason, failure.message)
            return True
        stored = await _stored_from_run(session, row, manifest)
        await service.finish_version(session, row, stored)
    return True


async def _stored_from_run(session: Any, version: Version, manifest: intake.Manifest) -> service.Stored:
    """Architecture, origin and licence follow the base where the output does not say."""
    try:
        base = await resources.get(session, Version, _version_of(version.base_version))
    except NotFound:
        base = Version(name="", project=version.project, model="", number=0, state="")
    facts = manifest.facts
    return service.Stored(
        uri=manifest.uri,
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        architecture=str(facts.get("architecture") or base.architecture),
        parameter_count=int(facts.get("parameters") or base.parameter_count),
        origin=base.origin,
        licence=base.licence,
    )


async def _follow_import(context: Context, claim: Any) -> bool:
    version: Version = claim.row
    spec = {"task": "import", "source": version.source, "revision": version.source_revision}
    workload = await _follow_job(context, claim, spec, f"import {version.source}")
    if workload is None or workload.state not in (*ENDED, workload_pb2.Workload.STATE_FINISHED):
        return workload is None
    result = json.loads(workload.result_json or "{}")
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if workload.state in ENDED:
            await service.fail_version(session, row, *_failure(workload, result))
        else:
            await service.finish_version(session, row, service.Stored(**result))
    return True


async def _follow_conversion(context: Context, claim: Any) -> bool:
    variant: Variant = claim.row
    async with context.db.transaction() as session:
        version = await resources.get(session, Version, variant.version)
        sent = await resources.get(session, Variant, variant.source) if _is_of_sent(variant) else None
    spec = _conversion(context, variant, version, sent)
    requests = _of_a_card(context, version) if variant.format == variants.COMPRESSED else None
    try:
        workload = await _follow_job(context, claim, spec, f"{variant.display_name} of {variant.version}", requests)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # such as FITS_NOWHERE
            raise
        async with context.db.transaction() as session:
            refusal = from_rpc(error)
            await variants.fail_variant(session, await claim.reload(session), refusal.reason, refusal.message)
        return True
    if workload is None or workload.state not in (*ENDED, workload_pb2.Workload.STATE_FINISHED):
        return workload is None
    result = json.loads(workload.result_json or "{}")
    async with context.db.transaction() as session:
        row = await claim.reload(session)
        if workload.state in ENDED:
            await variants.fail_variant(session, row, *_failure(workload, result))
        else:
            await variants.finish_variant(session, row, **result)
    return True


def _is_of_sent(variant: Variant) -> bool:
    return variant.format == adapters.FORMAT and bool(variant.source)


def _conversion(context: Context, variant: Variant, version: Version, sent: Variant | None) -> dict[str, Any]:
    """`sent`: the adapter that the variant is another form of."""
    weights = {"manifest": version.uri, "digest": version.digest}
    if variant.format == adapters.SENT:
        return {"task": "import_adapter", "source": variant.source, **weights}
    if variant.format == adapters.FORMAT:
        return {"task": "adapter", **weights} | ({"adapter": sent.uri, "adapter_digest": sent.digest} if sent else {})
    spec = {
        "task": CONVERSIONS[variant.format],
        **weights,
        "quantisation": variant.quantisation,
        "calibration": variant.calibration_uri,
        "calibration_digest": variant.calibration_digest,
    }
    is_compressed = variant.format == variants.COMPRESSED
    return spec | ({"python": context.settings.llmcompressor_python} if is_compressed else {})


def _of_a_card(context: Context, version: Version) -> Resources:
    """llm-compressor holds the weights in the machine's memory, and layer by layer on the card."""
    settings = context.settings
    memory = settings.compress_memory_bytes + 2 * version.size_bytes
    return {"cpu_milli": settings.convert_cpu_milli, "memory_bytes": memory, "gpu": settings.compress_cards}


async def _follow_job(
    context: Context, claim: Any, spec: dict[str, Any], title: str, requests: Resources | None = None
) -> workload_pb2.Workload | None:
    """The job of a row. None right after its name was chosen: it is written down before anything is started."""
    if not claim.row.workload:
        async with context.db.transaction() as session:
            row = await claim.reload(session)
            row.workload = f"projects/{row.project}/workloads/{new_id()}"
        return None
    settings = context.settings
    wanted = workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_JOB,
        module=MODULE,
        spec_json=json.dumps(spec),
        requests=requests or {"cpu_milli": settings.convert_cpu_milli, "memory_bytes": settings.convert_memory_bytes},
        max_attempts=3,
        owner=claim.row.name,
        user=claim.row.created_by,
        display_name=title,
    )
    workloads = context.clients.stub(WorkloadServiceStub)
    workload: workload_pb2.Workload = await workloads.EnsureWorkload(
        workload_service_pb2.EnsureWorkloadRequest(name=claim.row.workload, spec=wanted)
    )
    return workload


def _failure(workload: workload_pb2.Workload, result: dict[str, Any]) -> tuple[str, str]:
    error = result.get("error", {})
    reason = error.get("reason") or workload.failure_reason or "CANCELLED"
    message = error.get("message") or workload.failure_message or "The job was cancelled."
    return reason, f"{message} (log: gyre workloads logs {workload.name})"


async def collect_uploads(context: Context) -> bool:
    """Frees what was sent and is needed no more."""
    return await uploads.collect(context)


async def collect_deleted(context: Context) -> bool:
    """Frees the bytes of versions that were deleted long enough ago, and that nothing else names."""
    before = context.clock.now() - timedelta(days=context.settings.keep_deleted_days)
    async with context.db.transaction() as session:
        gone = await store.uncollected(session, before)
        in_use = await store.uris_in_use(session)
    for version in gone:
        await _collect(context, version, in_use)
    return False


async def _collect(context: Context, version: Version, in_use: set[str]) -> None:
    still_named = {blob for uri in in_use for blob in await _blobs_of(context, uri)}
    async with context.db.transaction() as session:
        own = [version.uri, *await store.variant_uris(session, version.name)]
    doomed = {blob for uri in own for blob in await _blobs_of(context, uri)} - still_named
    existing = [key for key in doomed if await context.store.exists(key)]
    await context.store.delete(existing)
    async with context.db.transaction() as session:
        row = await resources.get(session, Version, version.name, lock=True)
        row.collected = True
    log.info("collected a deleted version", extra={"version": version.name, "objects": len(existing)})


async def _blobs_of(context: Context, uri: str) -> set[str]:
    """A manifest with its files, or a single file."""
    if not uri:
        return set()
    key = key_of(uri)
    if not key.endswith(".json") or not await context.store.exists(key):
        return {key}
    listed = json.loads(await context.store.get(key))["files"]
    return {key, *(f"{files.BLOBS}/{entry['sha256']}" for entry in listed)}


def _version_of(name: str) -> str:
    """The version that a version's or a variant's name belongs to."""
    return name.split("/variants/", 1)[0]
