"""register and quantise: the result becomes a version of the registry, and the version what an engine loads."""

from __future__ import annotations

import grpc
from gyre.model_registry.v1 import (
    model_service_pb2,
    variant_pb2,
    variant_service_pb2,
    version_pb2,
    version_service_pb2,
)
from gyre.model_registry.v1.model_service_pb2_grpc import ModelServiceStub
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.app import Context
from gyre_kit.names import last, parent_of

from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting
from services.training_scheduler.stages.train import run_of

Version = version_pb2.Version
Variant = variant_pb2.Variant


async def register(context: Context, lap: Lap) -> StageResult:
    if not lap.spec.register_as:
        return skipped("Not asked for.")
    if not lap.result:
        return failed("NOTHING_TRAINED", "The batch and the data sets had no rows to train on.")
    await _ensure_model(context, lap)
    version = await _register(context, lap)
    if version.state == Version.STATE_READY:
        return done(f"Version {version.number}.", resource=version.name, facts={"digest": version.digest})
    if version.state == Version.STATE_IMPORTING:
        return waiting("The registry checks and stores it.", resource=version.name)
    return failed(version.failure_reason or "VERSION_NOT_READY", version.failure_message, resource=version.name)


async def _ensure_model(context: Context, lap: Lap) -> None:
    stub = context.clients.stub(ModelServiceStub)
    try:
        await stub.GetModel(model_service_pb2.GetModelRequest(name=lap.spec.register_as))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        await stub.CreateModel(
            model_service_pb2.CreateModelRequest(
                parent=lap.parent,
                model_id=last(lap.spec.register_as),
                origin=f"trained by {lap.name}",
                request_id=lap.request_id("model"),
            )
        )


async def _register(context: Context, lap: Lap) -> Version:
    runs = [await run_of(context, name) for name in lap.trained]
    result = next(run for run in runs if run.name == lap.result)
    datasets = dict.fromkeys(name for run in runs for name in run.spec["datasets"])
    parents = version_pb2.Parents(
        run=result.name, base_version=runs[0].base_version, dataset_versions=list(datasets), pipeline=lap.name
    )
    return await context.clients.stub(VersionServiceStub).RegisterVersion(
        version_service_pb2.RegisterVersionRequest(
            parent=lap.spec.register_as,
            display_name=lap.title,
            uri=result.output_uri,
            digest=result.output_digest,
            parents=parents,
            request_id=lap.request_id("register"),
        )
    )


async def quantise(context: Context, lap: Lap) -> StageResult:
    version = lap.made_by("register")
    if not version:
        return skipped("There is no version to quantise.")
    if not lap.spec.quantisations:
        return skipped("Not asked for: served as it is.", facts={"served": await hf_variant(context, version)})
    variants = [await variant_of(context, lap, version, quantisation) for quantisation in lap.spec.quantisations]
    facts = {variant.quantisation: variant.name for variant in variants}
    for variant in variants:
        if variant.state not in (Variant.STATE_CREATING, Variant.STATE_READY):
            reason = variant.failure_reason or "VARIANT_NOT_READY"
            return failed(reason, f"{variant.name}: {variant.failure_message}", resource=variant.name, facts=facts)
    if any(variant.state == Variant.STATE_CREATING for variant in variants):
        return waiting("Converting.", resource=variants[0].name, facts=facts)
    sizes = ", ".join(f"{variant.quantisation} {variant.size_bytes / 1e6:.0f} MB" for variant in variants)
    return done(f"{sizes}.", resource=variants[0].name, facts=facts | {"served": variants[0].name})


async def variant_of(context: Context, lap: Lap, version: str, quantisation: str) -> Variant:
    """The GGUF variant of that quantisation, its making started if need be."""
    return await context.clients.stub(VariantServiceStub).CreateVariant(
        variant_service_pb2.CreateVariantRequest(
            parent=version,
            format=Variant.FORMAT_GGUF,
            quantisation=quantisation,
            request_id=lap.request_id(f"{last(parent_of(version))}-{last(version)}-{quantisation}"),
        )
    )


async def hf_variant(context: Context, version: str) -> str:
    stub = context.clients.stub(VariantServiceStub)
    found = await stub.ListVariants(variant_service_pb2.ListVariantsRequest(parent=version))
    return next((str(it.name) for it in found.variants if it.format == Variant.FORMAT_HF), "")
