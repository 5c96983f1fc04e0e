"""Asks the registry what is to be served, and holds on to it."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf import duration_pb2
from gyre.inference_gateway.v1 import deployment_service_pb2
from gyre.model_registry.v1 import (
    alias_service_pb2,
    licence_service_pb2,
    variant_pb2,
    variant_service_pb2,
    version_service_pb2,
)
from gyre.model_registry.v1.alias_service_pb2_grpc import AliasServiceStub
from gyre.model_registry.v1.licence_service_pb2_grpc import LicenceServiceStub
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import parent_of
from gyre_kit.render import enum_name
from gyre_kit.rpc import Clients

from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.ssrf import Policy, check_url
from services.inference_gateway.proxy.ssrf import UpstreamRefused as Refused
from services.inference_gateway.replicas.fitting import check_fits
from services.inference_gateway.settings import Settings
from services.inference_gateway.targets import Wanted

PIN = timedelta(days=30)
COMPRESSED = variant_pb2.Variant.FORMAT_COMPRESSED_TENSORS
LOADS = {"LLAMA_CPP": (variant_pb2.Variant.FORMAT_GGUF,), "VLLM": (variant_pb2.Variant.FORMAT_HF, COMPRESSED)}
HIGHEST_PRICE_MICROUSD = 10**9


class VariantNotReady(Precondition):
    """The variant is not READY."""


class FormatUnsupported(Precondition):
    """llama.cpp loads GGUF (make such a variant first, for example Q8_0), vLLM safetensors (hf, AWQ, GPTQ, FP8)."""


class EngineNotLaunched(Precondition):
    """Gyre launches llama.cpp, and vLLM where GYRE_VLLM_PYTHON says where it is; attach others by their URL."""


class LicenceRefused(Precondition):
    """The project's licence policy refuses to deploy it."""


class BadPrice(Invalid):
    """A million tokens cost 0 to 1,000 dollars, in millionths of a dollar."""


class UpstreamRefused(Invalid):
    """The upstream's URL is not one that the gateway may talk to."""


async def look_up(clients: Clients, spec: deployment_service_pb2.TargetSpec, holder: str) -> Wanted:
    """Raises: UpstreamRefused; VariantNotReady; FormatUnsupported; EngineNotLaunched; LicenceRefused; TooLargeForFlavors;
    what the registry answers.
    """
    if spec.upstream_url:
        return _upstream(spec)
    variants = clients.stub(VariantServiceStub)
    variant = await variants.GetVariant(variant_service_pb2.GetVariantRequest(name=spec.variant))
    if variant.state != variant_pb2.Variant.STATE_READY:
        raise VariantNotReady(variant=spec.variant)
    engine = _engine(enum_name(spec, "engine"), variant)
    await check_licence(clients, variant.name)
    await check_fits(clients, variant.name)
    await pin(clients, variant.version, holder)
    return Wanted(
        weight_percent=spec.weight_percent,
        engine=engine,
        variant=variant.name,
        model_version=variant.version,
        variant_uri=variant.uri,
        variant_digest=variant.digest,
    )


def _engine(asked: str, variant: variant_pb2.Variant) -> str:
    """The one that is asked for, or else the one that loads the variant. Raises: EngineNotLaunched; FormatUnsupported."""
    has_vllm = bool(Settings().vllm_python)
    is_compressed = variant.format == COMPRESSED
    by_vllm = is_compressed or (has_vllm and variant.format in LOADS["VLLM"])
    engine = asked or ("VLLM" if by_vllm else "LLAMA_CPP")
    if engine not in LOADS or (engine == "VLLM" and not has_vllm):
        raise EngineNotLaunched(engine=engine)
    if variant.format not in LOADS[engine]:
        says = f"llama.cpp cannot load {variant.quantisation} weights; take the engine vLLM, or a GGUF variant."
        raise FormatUnsupported(says if is_compressed else "", variant=variant.name, engine=engine)
    return engine


async def check_licence(clients: Clients, variant: str) -> None:
    """Raises: LicenceRefused, naming the first term, the ancestor that brings it, and how many more there are."""
    request = licence_service_pb2.GetLicenceTermsRequest(name=variant)
    found = await clients.stub(LicenceServiceStub).GetLicenceTerms(request)
    if not found.refusals:
        return
    first, more = found.refusals[0], len(found.refusals) - 1
    raise LicenceRefused(
        f"{first.message}{f' There are {more} more reasons.' if more else ''} Serve a variant that did not come from "
        "it, correct the licence if it is wrong, or let an administrator change the policy (`gyre licences policy`).",
        variant=variant,
        term=enum_name(first, "term") or "UNKNOWN",
        because_of=first.because_of,
        licence=first.licence,
    )


async def pin(clients: Clients, version: str, holder: str) -> None:
    """Renewed by the reconciler while the target lives."""
    ttl = duration_pb2.Duration()
    ttl.FromTimedelta(PIN)
    request = version_service_pb2.PinVersionRequest(name=version, holder=holder, ttl=ttl)
    await clients.stub(VersionServiceStub).PinVersion(request)


async def unpin(clients: Clients, version: str, holder: str) -> None:
    request = version_service_pb2.UnpinVersionRequest(name=version, holder=holder)
    await clients.stub(VersionServiceStub).UnpinVersion(request)


async def variant_of_alias(clients: Clients, alias: str) -> str:
    """Raises: NotFound where there is no such alias, or it names no variant."""
    request = alias_service_pb2.ListAliasesRequest(parent=parent_of(alias), page_size=500)
    reply = await clients.stub(AliasServiceStub).ListAliases(request)
    found = next((each for each in reply.aliases if each.name == alias), None)
    if found is None or not found.variant:
        raise NotFound(f"There is no alias {alias} that names a variant.", name=alias)
    return str(found.variant)


def _upstream(spec: deployment_service_pb2.TargetSpec) -> Wanted:
    settings = ProxySettings()
    try:
        check_url(spec.upstream_url, Policy(settings.allow_loopback, settings.allow_private))
    except Refused as error:
        raise UpstreamRefused(str(error), field="upstream_url") from error
    return Wanted(
        weight_percent=spec.weight_percent,
        engine=enum_name(spec, "engine") or "OPENAI",
        upstream_url=spec.upstream_url.rstrip("/"),
        upstream_model=spec.upstream_model,
        upstream_key_ref=spec.upstream_key_ref,
        input_price_microusd=_price(spec, "input_price_microusd"),
        output_price_microusd=_price(spec, "output_price_microusd"),
        places=max(spec.places, 0),
        region=spec.region.strip().lower(),
    )


def _price(spec: deployment_service_pb2.TargetSpec, field: str) -> int:
    price = int(getattr(spec, field))
    if not 0 <= price <= HIGHEST_PRICE_MICROUSD:
        raise BadPrice(field=field)
    return price
