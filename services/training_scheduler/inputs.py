"""Asks the other services what a run's names stand for: its rows, its base, its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2, version_service_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.gpu_scheduler.v1 import queue_service_pb2
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.model_registry.v1 import variant_pb2, variant_service_pb2
from gyre.model_registry.v1 import version_pb2 as registry_version_pb2
from gyre.model_registry.v1 import version_service_pb2 as registry_version_service_pb2
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub as ModelVersionServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.errors import NotFound
from gyre_kit.names import last, parent_of
from gyre_kit.render import short_name
from gyre_kit.storage import key_of, uri_of
from gyre_trainers.methods import METHODS, Method

from services.training_scheduler import service
from services.training_scheduler.models import Checkpoint, Run, RunState

PIN_DAYS: Final = 30  # the longest that owners grant; a run lets go when it ends
BEGINNING, MANIFEST = "begin", "manifest.json"


@dataclass(frozen=True)
class Weights:
    """`version` is empty for the output of a run that was never registered."""

    uri: str
    digest: str
    version: str
    parameters: int


@dataclass(frozen=True)
class Rows:
    version: str
    uri: str
    digest: str
    count: int


async def find_rows(context: Context, method: str, names: Sequence[str]) -> list[Rows]:
    """The train sides of READY versions whose type `method` can use.

    Raises: VersionNotFound; VersionNotReady; TypeMismatch; NoTrainRows.
    """
    return list(await asyncio.gather(*(_find_rows(context, method, name) for name in names)))


async def _find_rows(context: Context, method: str, name: str) -> Rows:
    version, dataset = await get_dataset_version(context, name)
    kind = short_name(dataset_pb2.Dataset.Type.DESCRIPTOR, dataset.type)
    if kind != (needs := METHODS[Method(method)].rows):
        raise service.TypeMismatch(field="datasets", version=name, type=kind, method=method, needs=needs)
    if version.state != version_pb2.Version.STATE_READY:
        state = short_name(version_pb2.Version.State.DESCRIPTOR, version.state)
        raise service.VersionNotReady(version=name, state=state)
    if not version.train_count:
        raise service.NoTrainRows(version=name)
    return Rows(name, version.train_uri, version.train_digest, version.train_count)


async def get_dataset_version(context: Context, name: str) -> tuple[version_pb2.Version, dataset_pb2.Dataset]:
    """A version and the dataset that it belongs to. Raises: VersionNotFound."""
    get_version = context.clients.stub(DatasetVersionServiceStub).GetVersion
    get_dataset = context.clients.stub(DatasetServiceStub).GetDataset
    try:
        return (
            await get_version(version_service_pb2.GetVersionRequest(name=name)),
            await get_dataset(dataset_service_pb2.GetDatasetRequest(name=parent_of(name))),
        )
    except grpc.aio.AioRpcError as error:
        raise _named(error, service.VersionNotFound(field="datasets", version=name)) from error


async def find_weights(context: Context, name: str, *, head: str) -> Weights:
    """What a registry version, an HF variant of one or a finished run stands for.

    `head` is the ending that its architecture must have, such as "ForCausalLM".
    Raises: BaseNotFound; BaseNotReady; ArchitectureUnsupported.
    """
    if "/runs/" in name:
        return await _output_of(context, name)
    if "/variants/" in name:
        return await _find_variant(context, name, head)
    version = await _find_version(context, name, head)
    return Weights(version.uri, version.digest, name, _parameters(version))


async def _output_of(context: Context, name: str) -> Weights:
    async with context.db.transaction() as session:
        try:
            run = await resources.get(session, Run, name)
        except NotFound as error:
            raise service.BaseNotFound(base=name) from error
    if run.state != RunState.SUCCEEDED:
        raise service.BaseNotReady(base=name, state=run.state)
    return Weights(run.output_uri, run.output_digest, run.base_version, run.base_parameters)


async def _find_variant(context: Context, name: str, head: str) -> Weights:
    stub = context.clients.stub(VariantServiceStub)
    try:
        variant = await stub.GetVariant(variant_service_pb2.GetVariantRequest(name=name))
    except grpc.aio.AioRpcError as error:
        raise _named(error, service.BaseNotFound(base=name)) from error
    if variant.format != variant_pb2.Variant.FORMAT_HF:
        raise service.ArchitectureUnsupported(base=name, format=variant.quantisation, needs="the version's HF variant")
    if variant.state != variant_pb2.Variant.STATE_READY:
        state = short_name(variant_pb2.Variant.State.DESCRIPTOR, variant.state)
        raise service.BaseNotReady(base=name, state=state)
    version = await _find_version(context, variant.version, head)
    return Weights(variant.uri, variant.digest, variant.version, _parameters(version))


async def _find_version(context: Context, name: str, head: str) -> registry_version_pb2.Version:
    stub = context.clients.stub(ModelVersionServiceStub)
    try:
        version = await stub.GetVersion(registry_version_service_pb2.GetVersionRequest(name=name))
    except grpc.aio.AioRpcError as error:
        raise _named(error, service.BaseNotFound(base=name)) from error
    if version.state != registry_version_pb2.Version.STATE_READY:
        state = short_name(registry_version_pb2.Version.State.DESCRIPTOR, version.state)
        raise service.BaseNotReady(base=name, state=state)
    if version.architecture and not version.architecture.endswith(head):
        raise service.ArchitectureUnsupported(base=name, architecture=version.architecture, needs=f"…{head}")
    return version


def _parameters(version: registry_version_pb2.Version) -> int:
    """Where the registry could not count them: two bytes each, as weights are stored."""
    return version.parameter_count or version.size_bytes // 2


async def check_queue(context: Context, name: str) -> None:
    """Raises: QueueNotFound. An empty name means the project's default."""
    if not name:
        return
    try:
        await context.clients.stub(QueueServiceStub).GetQueue(queue_service_pb2.GetQueueRequest(name=name))
    except grpc.aio.AioRpcError as error:
        raise _named(error, service.QueueNotFound(queue=name)) from error


async def pin(context: Context, names: Sequence[str], holder: str) -> None:
    """Keeps what a run needs from being deleted while it runs; the same holder may ask again."""
    ttl = Duration()
    ttl.FromTimedelta(timedelta(days=PIN_DAYS))
    for name in names:
        stub, messages = _owner(context, name)
        await stub.PinVersion(messages.PinVersionRequest(name=name, holder=holder, ttl=ttl))


async def unpin(context: Context, names: Sequence[str], holder: str) -> None:
    """What is gone already needs no letting go."""
    for name in names:
        stub, messages = _owner(context, name)
        try:
            await stub.UnpinVersion(messages.UnpinVersionRequest(name=name, holder=holder))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise


def _owner(context: Context, name: str) -> tuple[Any, Any]:
    """The service that keeps this version, and the messages that it speaks."""
    if "/datasets/" in name:
        return context.clients.stub(DatasetVersionServiceStub), version_service_pb2
    return context.clients.stub(ModelVersionServiceStub), registry_version_service_pb2


def _named(error: grpc.aio.AioRpcError, missing: NotFound) -> Exception:
    """A NOT_FOUND says what was not found; other errors go on as they came."""
    return missing if error.code() is grpc.StatusCode.NOT_FOUND else error


async def copy_checkpoint(context: Context, checkpoint: Checkpoint, run: str) -> dict[str, Any]:
    """A fork has its own copy, for its origin drops old checkpoints as it goes on. As the trainer's spec.json wants it.

    Raises: CheckpointGone.
    """
    origin, target = key_of(checkpoint.uri), f"runs/{last(run)}/{BEGINNING}"
    keys = sorted(await context.store.list(origin), key=lambda key: key.endswith(MANIFEST))  # the manifest last
    if f"{origin}/{MANIFEST}" not in keys:
        raise service.CheckpointGone(name=checkpoint.name)
    try:
        for key in keys:
            await context.store.copy(key, target + key.removeprefix(origin))
    except FileNotFoundError as error:  # dropped meanwhile
        raise service.CheckpointGone(name=checkpoint.name) from error
    return {"begin_from": {"uri": uri_of(target), "digest": checkpoint.digest}}
