"""What an evaluation is to measure and on what, pinned: both are immutable from here on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from google.protobuf import duration_pb2
from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.gpu_scheduler.v1 import node_service_pb2
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.model_registry.v1 import variant_pb2, variant_service_pb2, version_service_pb2
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.app import Context
from gyre_kit.errors import Precondition
from gyre_kit.rpc import Clients

from services.evaluation.models import Suite

LOADED = (
    variant_pb2.Variant.FORMAT_GGUF,  # by llama.cpp
    variant_pb2.Variant.FORMAT_HF,  # by vLLM, as the next
    variant_pb2.Variant.FORMAT_COMPRESSED_TENSORS,
)


class VariantNotReady(Precondition):
    """The variant is not READY."""


class FormatUnsupported(Precondition):
    """Evaluations ask llama.cpp, which loads GGUF, or vLLM, which loads safetensors; an adapter alone gives no answers."""


class EngineNotLaunched(Precondition):
    """Safetensors, AWQ, GPTQ and FP8 are asked of vLLM; name its Python in GYRE_VLLM_PYTHON, or take a GGUF variant."""


class NoGpuFlavor(Precondition):
    """No node has the cards that vLLM is to compute on (GYRE_VLLM_CARDS); add one, or take a GGUF quantisation."""


class Prices(NamedTuple):
    """Of a flavor, for an hour, millionths of a dollar."""

    core_hour_microusd: int = 0
    card_hour_microusd: int = 0


async def pinned_spec(
    context: Context, variant_name: str, suite: Suite, holder: str, *, measure_cost: bool
) -> dict[str, Any]:
    """The spec of an evaluation's job but for its output; the pins are `holder`'s.

    Raises: VariantNotReady; FormatUnsupported; EngineNotLaunched.
    """
    ttl = duration_pb2.Duration()
    ttl.FromTimedelta(timedelta(days=context.settings.pin_days))
    pin = dataset_versions.PinVersionRequest(name=suite.dataset_version, holder=holder, ttl=ttl)
    rows = await context.clients.stub(DatasetVersionServiceStub).PinVersion(pin)
    variant = await _variant(context, variant_name)
    pin_model = version_service_pb2.PinVersionRequest(name=variant.version, holder=holder, ttl=ttl)
    await context.clients.stub(VersionServiceStub).PinVersion(pin_model)
    on_train = suite.split == "TRAIN"
    return {
        **_engine(context, variant),
        "model_uri": variant.uri,
        "model_digest": variant.digest,
        "rows_uri": rows.train_uri if on_train else rows.test_uri,
        "rows_digest": rows.train_digest if on_train else rows.test_digest,
        "slices": suite.slices,
        "scorer": suite.scorer,
        "max_tokens": suite.max_tokens,
        "max_rows": suite.max_rows,
        "parallel": context.settings.evaluate_parallel,
        "measure_cost": measure_cost,
    }


async def check_vllm(context: Context, only_flavor: str = "") -> None:
    """Whether variants for vLLM can be measured, on `only_flavor` if one is named. A node that is away may come back.

    Raises: EngineNotLaunched; NoGpuFlavor.
    """
    if not context.settings.vllm_python:
        raise EngineNotLaunched(engine="VLLM")
    needed = context.settings.vllm_cards
    if not needed:
        return
    known = await context.clients.stub(NodeServiceStub).ListNodes(node_service_pb2.ListNodesRequest(page_size=500))
    nodes = [node for node in known.nodes if not only_flavor or node.flavor == only_flavor]
    if not any(len(node.cards) >= needed for node in nodes):
        raise NoGpuFlavor(cards=needed, **({"flavor": only_flavor} if only_flavor else {}))


async def known_flavors(clients: Clients) -> dict[str, Prices]:
    """The platform's flavors, each with its prices."""
    known = await clients.stub(NodeServiceStub).ListFlavors(node_service_pb2.ListFlavorsRequest(page_size=500))
    return {it.name: Prices(int(it.cpu_hour_microusd), int(it.gpu_hour_microusd)) for it in known.flavors}


def _engine(context: Context, variant: variant_pb2.Variant) -> dict[str, Any]:
    """The one that serves the variant, and what it needs. Raises: EngineNotLaunched."""
    settings = context.settings
    if variant.format == variant_pb2.Variant.FORMAT_GGUF:
        return {"engine": "LLAMA_CPP"}
    if not settings.vllm_python:
        raise EngineNotLaunched(engine="VLLM", variant=variant.name)
    return {"engine": "VLLM", "python": settings.vllm_python, "cards": settings.vllm_cards}


async def _variant(context: Context, name: str) -> variant_pb2.Variant:
    stub = context.clients.stub(VariantServiceStub)
    variant: variant_pb2.Variant = await stub.GetVariant(variant_service_pb2.GetVariantRequest(name=name))
    if variant.format not in LOADED:
        raise FormatUnsupported(variant=name)
    if variant.state != variant_pb2.Variant.STATE_READY:
        raise VariantNotReady(variant=name)
    return variant
