"""Use cases: forms of a version that an engine loads."""

from __future__ import annotations

from dataclasses import dataclass

from gyre.model_registry.v1 import events_pb2, variant_pb2
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition
from gyre_kit.names import last
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.model_registry import adapters, history
from services.model_registry.models import Variant, VariantState
from services.model_registry.service import ready_version

COMPRESSED = "COMPRESSED_TENSORS"
# quantisation → the format of its variant
QUANTISATIONS = {
    **dict.fromkeys(("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"), "GGUF"),
    **dict.fromkeys(("AWQ", "GPTQ", "FP8"), COMPRESSED),
}
UNCALIBRATED = ("F16", "Q8_0", "FP8")  # look at weights alone
CALIBRATED = ("AWQ", "GPTQ")  # are nothing without conversations


class QuantisationUnknown(Invalid):
    """Quantisations are F16, Q8_0, Q6_K, Q5_K_M and Q4_K_M for llama.cpp, AWQ, GPTQ and FP8 for vLLM."""


class CalibrationWithoutEffect(Invalid):
    """F16, Q8_0 and FP8 look at the weights alone; ask for another quantisation, or leave the calibration out."""


class CalibrationNeeded(Invalid):
    """AWQ and GPTQ need conversations to measure on; name a data set version as calibration, or take FP8."""


class NoGpuFlavor(Precondition):
    """No flavor of this platform has a GPU, which AWQ, GPTQ and FP8 need; add a node with one, or take Q4_K_M."""


@dataclass(frozen=True)
class Calibration:
    """The training rows of a data set version, to measure on what the weights are used for."""

    dataset_version: str
    uri: str
    digest: str


def variant_name(version: str, quantisation: str, dataset_version: str = "") -> str:
    """`…/variants/q4-k-m`, or `…/variants/q4-k-m-hotline-1` of one calibrated on version 1 of `hotline`.

    Raises: QuantisationUnknown; CalibrationWithoutEffect; CalibrationNeeded.
    """
    if quantisation not in QUANTISATIONS:
        raise QuantisationUnknown(field="quantisation", given=quantisation[:40])
    name = f"{version}/variants/{quantisation.lower().replace('_', '-')}"
    if not dataset_version:
        if quantisation in CALIBRATED:
            raise CalibrationNeeded(field="calibration", quantisation=quantisation)
        return name
    if quantisation in UNCALIBRATED:
        raise CalibrationWithoutEffect(field="calibration", quantisation=quantisation)
    return f"{name}-{last(dataset_version.split('/versions/')[0])}-{last(dataset_version)}"


async def create_variant(
    session: Session, version_name: str, quantisation: str, calibration: Calibration | None = None
) -> Variant:
    """A variant that a job will make, or the one of that name that is there; a failed one is tried again.

    Raises: QuantisationUnknown; CalibrationWithoutEffect; CalibrationNeeded; NotFound; VersionNotReady; WeightsMissing.
    """
    name = variant_name(version_name, quantisation, calibration.dataset_version if calibration else "")
    version = await ready_version(session, version_name)
    variant: Variant | None = await session.get(Variant, name, with_for_update=True)
    if variant is None:
        await adapters.check_weights(session, version_name)
        variant = Variant(
            name=name,
            project=version.project,
            display_name=quantisation,
            state=VariantState.CREATING,
            version=version_name,
            format=QUANTISATIONS[quantisation],
            quantisation=quantisation,
        )
        if calibration:
            variant.calibration = calibration.dataset_version
            variant.calibration_uri, variant.calibration_digest = calibration.uri, calibration.digest
        session.add(variant)
    elif variant.state == VariantState.FAILED:
        await adapters.try_again(session, variant)
    await session.flush()
    return variant


async def finish_variant(
    session: Session, variant: Variant, *, uri: str, digest: str, size_bytes: int, note: str
) -> None:
    variant.uri, variant.digest, variant.size_bytes, variant.note = uri, digest, size_bytes, note
    edges = [_made_of(variant), (variant.calibration, variant.name, "calibrated_on")]
    await history.add_edges(session, variant.project, edges)
    ready = events_pb2.VariantReady(
        name=variant.name,
        version=variant.version,
        format=enum_number(variant_pb2.Variant.Format.DESCRIPTOR, variant.format),
        quantisation=variant.quantisation,
        uri=uri,
        digest=digest,
        size_bytes=size_bytes,
    )
    ready.ready_time.FromDatetime(session.clock.now())
    await transition(session, variant, VariantState.READY, ready)
    if variant.format == adapters.SENT:
        await adapters.convert(session, variant)


def _made_of(variant: Variant) -> tuple[str, str, str]:
    if variant.format == adapters.SENT:
        return variant.version, variant.name, "adapted_to"
    return variant.source or variant.version, variant.name, "converted_to"


async def fail_variant(session: Session, variant: Variant, reason: str, message: str) -> None:
    variant.failure_reason, variant.failure_message = reason, message
    await transition(session, variant, VariantState.FAILED)
