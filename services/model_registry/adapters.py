"""Use cases: the adapter of a version, as an engine adds it to the base that it was trained on."""

from __future__ import annotations

from gyre_kit.db import Session
from gyre_kit.errors import Precondition
from gyre_kit.states import transition

from services.model_registry.models import Variant, VariantState
from services.model_registry.service import ready_version

FORMAT = "GGUF_ADAPTER"


class NoAdapter(Precondition):
    """The version was imported, so nothing is known of what was added to which base; train one by LoRA."""


async def create_adapter(session: Session, version_name: str) -> Variant:
    """A variant `…/variants/adapter` that a job will make, or the one that is there; a failed one is tried again.

    Raises: NotFound; VersionNotReady; NoAdapter.
    """
    version = await ready_version(session, version_name)
    if not (version.run and version.base_version):
        raise NoAdapter(version=version_name)
    name = f"{version_name}/variants/adapter"
    variant: Variant | None = await session.get(Variant, name, with_for_update=True)
    if variant is None:
        variant = Variant(
            name=name,
            project=version.project,
            display_name="LoRA",
            state=VariantState.CREATING,
            version=version_name,
            format=FORMAT,
        )
        session.add(variant)
    elif variant.state == VariantState.FAILED:
        variant.workload = variant.failure_reason = variant.failure_message = ""
        await transition(session, variant, VariantState.CREATING)
    await session.flush()
    return variant
