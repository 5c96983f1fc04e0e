"""Use cases: LoRA adapters, as they were sent, and as an engine adds them to their base.

One that a run trained is a variant `adapter` of the run's version. One that was imported belongs to the version that it
was trained on: `polite` of that version is what was sent, and `polite-gguf`, made of it by itself, is what llama.cpp
adds.
"""

from __future__ import annotations

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, Precondition
from gyre_kit.names import last, slug
from gyre_kit.states import transition

from services.model_registry import store
from services.model_registry.models import Variant, VariantState, Version
from services.model_registry.service import ready_version

SENT, FORMAT = "ADAPTER", "GGUF_ADAPTER"
DEFAULT_ID = "adapter"
ANY_VERSION = "/models/-/versions/-"
HUB_PAGES = ("https://huggingface.co/", "https://hf.co/", "https://www.modelscope.cn/models/", "hf://", "ms://")


class NoAdapter(Precondition):
    """The version was imported, so nothing is known of what was added to which base; train one by LoRA."""


class WeightsMissing(Precondition):
    """The version came as a GGUF file and has no safetensors to work on; import those as a version."""


class VariantExists(AlreadyExists):
    """There is a variant of that name already; choose another name."""


class BaseUnknown(Invalid):
    """No version here is the base that the adapter names; import that one, or say which version it was trained on."""


class BaseAmbiguous(Invalid):
    """Several versions here may be the base that the adapter names; say which one it was trained on."""


async def base_named(session: Session, project: str, named: str) -> str:
    """The version that an adapter's `base_model_name_or_path` means: by its source or origin at a hub, by its model's id,
    or by its name. The newest of several with the same bytes.

    Raises: BaseUnknown; BaseAmbiguous.
    """
    ready = await store.ready_versions(session, project)
    found = [version for version in ready if _plain(named) in _names(version)]
    if not found:
        raise BaseUnknown(field="parent", named=named[:200] or "nothing")
    if len({version.digest for version in found}) > 1:
        names = ", ".join(version.name for version in found[:10])
        raise BaseAmbiguous(field="parent", named=named[:200], versions=names)
    return str(found[0].name)


async def create_sent(session: Session, version_name: str, variant_id: str, source: str) -> Variant:
    """A variant that a job will fill from `source`; a failed one is tried again with the new source.

    Raises: BadName; NotFound; VersionNotReady; WeightsMissing; VariantExists.
    """
    name = f"{version_name}/variants/{slug(variant_id or DEFAULT_ID)}"
    version = await ready_version(session, version_name)
    variant: Variant | None = await session.get(Variant, name, with_for_update=True)
    if variant is None:
        await check_weights(session, version_name)
        variant = _add(session, version, name, last(name), SENT, source)
    elif variant.state == VariantState.FAILED and variant.format == SENT:
        await try_again(session, variant)
        variant.source = source
    elif variant.source != source:
        raise VariantExists(name=name)
    await session.flush()
    return variant


async def create_adapter(session: Session, version_name: str, variant_id: str = "") -> Variant:
    """What an engine adds: of the adapter that was sent as `variant_id`, else of what the version's run added to its base.
    A variant that a job will make, or the one that is there; a failed one is tried again.

    Raises: NotFound; VersionNotReady; NoAdapter.
    """
    version = await ready_version(session, version_name)
    if variant_id:
        return await convert(session, await resources.get(session, Variant, f"{version_name}/variants/{variant_id}"))
    if not (version.run and version.base_version):
        raise NoAdapter(version=version_name)
    name = f"{version_name}/variants/{DEFAULT_ID}"
    return await _made(session, version, name, "LoRA", "")


async def convert(session: Session, sent: Variant) -> Variant:
    """The form for engines of one that was sent. Raises: NoAdapter."""
    if sent.format != SENT or sent.state != VariantState.READY:
        raise NoAdapter(f"{sent.name} is no adapter that was imported and is ready.", variant=sent.name)
    version = await ready_version(session, sent.version)
    return await _made(session, version, f"{sent.name}-gguf", f"{sent.display_name} (GGUF)", sent.name)


async def check_weights(session: Session, version: str) -> None:
    """Raises: WeightsMissing."""
    if not any(variant.format == "HF" for variant in await store.variants_of(session, version)):
        raise WeightsMissing(version=version)


async def try_again(session: Session, variant: Variant) -> None:
    variant.workload = variant.failure_reason = variant.failure_message = ""
    await transition(session, variant, VariantState.CREATING)


async def _made(session: Session, version: Version, name: str, title: str, source: str) -> Variant:
    variant: Variant | None = await session.get(Variant, name, with_for_update=True)
    if variant is None:
        variant = _add(session, version, name, title, FORMAT, source)
    elif variant.format != FORMAT:
        raise VariantExists(name=name)
    elif variant.state == VariantState.FAILED:
        await try_again(session, variant)
    await session.flush()
    return variant


def _add(session: Session, version: Version, name: str, title: str, format_: str, source: str) -> Variant:
    variant = Variant(
        name=name,
        project=version.project,
        display_name=title,
        state=VariantState.CREATING,
        version=version.name,
        format=format_,
        source=source,
    )
    session.add(variant)
    return variant


def _names(version: Version) -> set[str]:
    """What an adapter's configuration may call it. What a run made has its base's origin, and is not its base."""
    model = last(version.model)
    names = {version.name, f"{model}@{version.number}", model}
    if not version.run:
        names |= {_plain(version.source), _plain(version.origin.split(" ")[0])} - {""}
    return names


def _plain(named: str) -> str:
    """`owner/name` of a hub's address, without a revision."""
    for page in HUB_PAGES:
        if named.startswith(page):
            return named.removeprefix(page).split("@")[0].strip("/")
    return named.strip("/")
