"""Parse, call, render."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

from google.protobuf import empty_pb2
from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.evaluation.v1 import verdict_pb2, verdict_service_pb2
from gyre.evaluation.v1.verdict_service_pb2_grpc import VerdictServiceStub
from gyre.model_registry.v1 import (
    alias_pb2,
    alias_service_pb2,
    lineage_pb2,
    lineage_service_pb2,
    model_pb2,
    model_service_pb2,
    variant_pb2,
    variant_service_pb2,
    version_pb2,
    version_service_pb2,
)
from gyre.model_registry.v1.alias_service_pb2_grpc import AliasServiceServicer
from gyre.model_registry.v1.lineage_service_pb2_grpc import LineageServiceServicer
from gyre.model_registry.v1.model_service_pb2_grpc import ModelServiceServicer
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceServicer
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.db import Session
from gyre_kit.names import last, project_of
from gyre_kit.render import render
from gyre_kit.storage import key_of

from services.model_registry import adapters, aliases, files, lineage, machines, service, store, uploads, variants
from services.model_registry.models import Model, Variant, Version, VersionState, parents_of

DEFAULT_DEPTH = 10
CALIBRATION_PIN = timedelta(days=1)


class ModelApi(ModelServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def CreateModel(self, request: model_service_pb2.CreateModelRequest, _: Any) -> model_pb2.Model:
        given = {
            "display_name": request.display_name,
            "description": request.description,
            "origin": request.origin,
            "licence": request.licence,
        }
        async with self.db.transaction() as session:
            model = await service.create_model(
                session, project_of(request.parent), request.model_id, given, request.request_id
            )
            return await model_to_proto(session, model)

    async def GetModel(self, request: model_service_pb2.GetModelRequest, _: Any) -> model_pb2.Model:
        async with self.db.transaction() as session:
            return await model_to_proto(session, await resources.get(session, Model, request.name))

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, _: Any
    ) -> model_service_pb2.ListModelsResponse:
        async with self.db.transaction() as session:
            found = await store.model_page(session, project_of(request.parent), request)
            models = [await model_to_proto(session, row) for row in found.rows]
        return model_service_pb2.ListModelsResponse(
            models=models, next_page_token=found.next_page_token, total_size=found.total
        )

    async def UpdateModel(self, request: model_service_pb2.UpdateModelRequest, _: Any) -> model_pb2.Model:
        async with self.db.transaction() as session:
            model = await service.update_model(session, request.model, list(request.update_mask.paths))
            return await model_to_proto(session, model)

    async def DeleteModel(self, request: model_service_pb2.DeleteModelRequest, _: Any) -> model_pb2.Model:
        async with self.db.transaction() as session:
            return await model_to_proto(session, await service.delete_model(session, request.name, request.etag))


class VersionApi(VersionServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def ImportVersion(self, request: version_service_pb2.ImportVersionRequest, _: Any) -> version_pb2.Version:
        wanted = service.Import(
            source=request.source,
            revision=request.revision,
            origin=request.origin,
            licence=request.licence,
            card=request.card,
            display_name=request.display_name,
            request_id=request.request_id,
        )
        if wanted.source.startswith(service.UPLOADS) and not await self.context.store.exists(key_of(wanted.source)):
            raise service.UploadGone(field="source", given=wanted.source[:120])
        upload = ""
        if wanted.source.startswith(files.UPLOADS):
            upload = await uploads.listing_of(self.context, wanted.source, adapter=False)
        async with self.db.transaction() as session:
            version = await service.import_version(session, request.parent, wanted)
            if upload:
                await uploads.use(session, upload, version.name)
            reply = await version_to_proto(session, version)
        self.context.wake()
        return reply

    async def RegisterVersion(self, request: version_service_pb2.RegisterVersionRequest, _: Any) -> version_pb2.Version:
        made = service.Registration(
            uri=request.uri,
            digest=request.digest,
            run=request.parents.run or request.request_id,
            base_version=request.parents.base_version.split("/variants/", 1)[0],
            dataset_versions=list(request.parents.dataset_versions),
            pipeline=request.parents.pipeline,
            origin=request.origin,
            licence=request.licence,
            card=request.card,
            display_name=request.display_name,
        )
        async with self.db.transaction() as session:
            version = await service.register_version(session, request.parent, made)
            reply = await version_to_proto(session, version)
        self.context.wake()
        return reply

    async def GetVersion(self, request: version_service_pb2.GetVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            return await version_to_proto(session, await resources.get(session, Version, request.name))

    async def ListVersions(
        self, request: version_service_pb2.ListVersionsRequest, _: Any
    ) -> version_service_pb2.ListVersionsResponse:
        async with self.db.transaction() as session:
            found = await store.version_page(session, request.parent, request)
            versions = [await version_to_proto(session, row) for row in found.rows]
        return version_service_pb2.ListVersionsResponse(
            versions=versions, next_page_token=found.next_page_token, total_size=found.total
        )

    async def DeleteVersion(self, request: version_service_pb2.DeleteVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            return await version_to_proto(session, await service.delete_version(session, request.name, request.etag))

    async def PinVersion(self, request: version_service_pb2.PinVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            version = await service.pin_version(session, request.name, request.holder, request.ttl.ToTimedelta())
            return await version_to_proto(session, version)

    async def UnpinVersion(self, request: version_service_pb2.UnpinVersionRequest, _: Any) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await store.drop_pin(session, request.name, request.holder)
        return empty_pb2.Empty()


class VariantApi(VariantServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateVariant(self, request: variant_service_pb2.CreateVariantRequest, _: Any) -> variant_pb2.Variant:
        if request.format == variant_pb2.Variant.FORMAT_ADAPTER:
            return await self._create_adapter(request)
        await machines.check_cards(self.context, request.quantisation)
        calibration = await self._calibration(request) if request.calibration else None
        async with self.db.transaction() as session:
            if request.format == variant_pb2.Variant.FORMAT_GGUF_ADAPTER:
                variant = await adapters.create_adapter(session, request.parent, request.variant_id)
            else:
                variant = await variants.create_variant(session, request.parent, request.quantisation, calibration)
        self.context.wake()
        return render(variant, variant_pb2.Variant)

    async def GetVariant(self, request: variant_service_pb2.GetVariantRequest, _: Any) -> variant_pb2.Variant:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Variant, request.name), variant_pb2.Variant)

    async def ListVariants(
        self, request: variant_service_pb2.ListVariantsRequest, _: Any
    ) -> variant_service_pb2.ListVariantsResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Version, request.parent)
            found = await store.variant_page(session, request.parent, request)
        return variant_service_pb2.ListVariantsResponse(
            variants=[render(row, variant_pb2.Variant) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _create_adapter(self, request: variant_service_pb2.CreateVariantRequest) -> variant_pb2.Variant:
        is_sent = not request.source.startswith(service.HUBS)
        upload = await uploads.listing_of(self.context, request.source, adapter=True) if is_sent else ""
        named = await uploads.base_named_by(self.context, upload) if upload else ""
        async with self.db.transaction() as session:
            parent = request.parent
            if parent.endswith(adapters.ANY_VERSION):
                parent = await adapters.base_named(session, project_of(parent), named)
            variant = await adapters.create_sent(session, parent, request.variant_id, request.source)
            if upload:
                await uploads.use(session, upload, variant.name)
        self.context.wake()
        return render(variant, variant_pb2.Variant)

    async def _calibration(self, request: variant_service_pb2.CreateVariantRequest) -> variants.Calibration:
        """Holds on to the rows until the job has read them. Raises: what the data set service says."""
        pin = dataset_versions.PinVersionRequest(
            name=request.calibration,
            holder=variants.variant_name(request.parent, request.quantisation, request.calibration),
        )
        pin.ttl.FromTimedelta(CALIBRATION_PIN)
        rows = await self.context.clients.stub(DatasetVersionServiceStub).PinVersion(pin)
        return variants.Calibration(dataset_version=rows.name, uri=rows.train_uri, digest=rows.train_digest)


class AliasApi(AliasServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def MoveAlias(self, request: alias_service_pb2.MoveAliasRequest, _: Any) -> alias_pb2.Alias:
        wanted = aliases.Move(
            alias=request.name,
            version=request.version,
            variant=request.variant,
            verdict=await self._verdict(request.verdict) if request.verdict else None,
            etag=request.etag,
            expected_version=request.expected_version,
            gated=request.gated if request.HasField("gated") else None,
            request_id=request.request_id,
        )
        async with self.db.transaction() as session:
            alias = await aliases.move(session, wanted, by=caller())
        return render(alias, alias_pb2.Alias)

    async def ResolveAlias(self, request: alias_service_pb2.ResolveAliasRequest, _: Any) -> alias_pb2.AliasMove:
        now = self.context.clock.now()
        time = request.time.ToDatetime(tzinfo=UTC) if request.HasField("time") else now
        async with self.db.transaction() as session:
            return render(await aliases.resolve(session, request.name, time), alias_pb2.AliasMove)

    async def ListAliases(
        self, request: alias_service_pb2.ListAliasesRequest, _: Any
    ) -> alias_service_pb2.ListAliasesResponse:
        async with self.db.transaction() as session:
            await resources.get(session, Model, request.parent)
            found = await store.alias_page(session, request.parent, request)
        return alias_service_pb2.ListAliasesResponse(
            aliases=[render(row, alias_pb2.Alias) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListAliasMoves(
        self, request: alias_service_pb2.ListAliasMovesRequest, _: Any
    ) -> alias_service_pb2.ListAliasMovesResponse:
        async with self.db.transaction() as session:
            found = await store.move_page(session, request.parent, request)
        return alias_service_pb2.ListAliasMovesResponse(
            moves=[render(row, alias_pb2.AliasMove) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _verdict(self, name: str) -> aliases.Verdict:
        stub = self.context.clients.stub(VerdictServiceStub)
        verdict = await stub.GetVerdict(verdict_service_pb2.GetVerdictRequest(name=name))
        passed = verdict.state == verdict_pb2.Verdict.STATE_PASSED
        return aliases.Verdict(name=name, passed=passed, variant=verdict.candidate_variant)


class LineageApi(LineageServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def GetLineage(self, request: lineage_service_pb2.GetLineageRequest, _: Any) -> lineage_pb2.Lineage:
        directions = lineage_service_pb2.GetLineageRequest
        question = lineage.Question(
            request.name,
            depth=request.depth or DEFAULT_DEPTH,
            upstream=request.direction != directions.DIRECTION_DOWNSTREAM,
            downstream=request.direction != directions.DIRECTION_UPSTREAM,
            time=request.time.ToDatetime(tzinfo=UTC) if request.HasField("time") else None,
        )
        return await lineage.walk(self.context, question)


async def model_to_proto(session: Session, model: Model) -> model_pb2.Model:
    ready = await store.newest_version(session, model.name, VersionState.READY)
    newest = await store.newest_version(session, model.name)
    targets = await store.aliases_of(session, model.name)
    return render(
        model,
        model_pb2.Model,
        architecture=ready.architecture if ready else None,
        parameter_count=ready.parameter_count if ready else None,
        latest_version=ready.name if ready else None,
        latest_version_state=newest.state if newest else None,
        size_bytes=await store.stored_bytes(session, model.name),
        aliases=[{"alias": last(alias.name), "version": alias.version} for alias in targets],
    )


async def version_to_proto(session: Session, version: Version) -> version_pb2.Version:
    pins = await store.pins_of(session, version.name, session.clock.now())
    found = await store.variants_of(session, version.name)
    return render(
        version,
        version_pb2.Version,
        source="" if version.run else version.source,
        parents=parents_of(version),
        pins=[{"holder": pin.holder, "expire_time": pin.expire_time} for pin in pins],
        variants=[variant.name for variant in found],
    )
