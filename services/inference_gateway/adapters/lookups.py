"""Asks the registry for adapters, and holds on to them."""

from __future__ import annotations

from gyre.inference_gateway.v1 import adapter_pb2
from gyre.model_registry.v1 import variant_pb2, variant_service_pb2, version_pb2, version_service_pb2
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.errors import Precondition
from gyre_kit.rpc import Clients

from services.inference_gateway import lookups
from services.inference_gateway.adapters.service import Base
from services.inference_gateway.targets import Adapter


class NoAdapterVariant(Precondition):
    """It is a whole model; make its adapter a variant first (`gyre models adapter`)."""


class AdapterOfAnotherBase(Precondition):
    """It was trained on other weights than the deployment serves: on these it would say nonsense."""


async def look_up(clients: Clients, given: adapter_pb2.Adapter, base: Base, holder: str) -> Adapter:
    """Raises: VariantNotReady; NoAdapterVariant; AdapterOfAnotherBase; LicenceRefused; what the registry answers."""
    variant = await _variant(clients, given.variant)
    if variant.state != variant_pb2.Variant.STATE_READY:
        raise lookups.VariantNotReady(variant=variant.name)
    if variant.format != variant_pb2.Variant.FORMAT_GGUF_ADAPTER:
        raise NoAdapterVariant(variant=variant.name)
    version = await _version(clients, variant.version)
    # One that was imported belongs to its base's version; one that a run trained, to what the run made.
    trained_on = variant.version if variant.source else version.parents.base_version.partition("/variants/")[0]
    await _check_base(clients, version, trained_on, base.model_version)
    peft_uri = (await _variant(clients, variant.source)).uri if variant.source else version.uri
    await lookups.check_licence(clients, variant.name)
    await lookups.pin(clients, variant.version, holder)
    return Adapter(
        id=given.id,
        variant=variant.name,
        model_version=variant.version,
        uri=variant.uri,
        digest=variant.digest,
        version_uri=peft_uri,
        keys=tuple(given.keys),
    )


async def _check_base(clients: Clients, version: version_pb2.Version, trained_on: str, base: str) -> None:
    """The very version, or one of the same bytes. Raises: AdapterOfAnotherBase."""
    if trained_on == base:
        return
    same = trained_on and (await _version(clients, trained_on)).digest == (await _version(clients, base)).digest
    if not same:
        raise AdapterOfAnotherBase(version=version.name, trained_on=trained_on, served=base)


async def _variant(clients: Clients, name: str) -> variant_pb2.Variant:
    variant: variant_pb2.Variant = await clients.stub(VariantServiceStub).GetVariant(
        variant_service_pb2.GetVariantRequest(name=name)
    )
    return variant


async def _version(clients: Clients, name: str) -> version_pb2.Version:
    request = version_service_pb2.GetVersionRequest(name=name)
    version: version_pb2.Version = await clients.stub(VersionServiceStub).GetVersion(request)
    return version
