"""Adapters from elsewhere: which base they belong to, and the form that engines load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gyre_kit import resources
from gyre_kit.db import Session

from services.model_registry import adapters, history, service, store, variants
from services.model_registry.models import Variant, VariantState, Version
from services.model_registry.tests.test_service import STORED

SENT = "gyre://registry/uploads/u"


async def version(
    session: Session, model: str, source: str = "hf://a/b", digest: str = "sha256:1", **said: Any
) -> Version:
    name = f"projects/acme/models/{model}"
    if await session.get(service.Model, name) is None:
        await service.create_model(session, "acme", model, {}, "")
    made = await service.import_version(session, name, service.Import(source, **said))
    await service.finish_version(session, made, replace(STORED, digest=digest, origin=said.get("origin", "")))
    return made


async def trained(session: Session, base: Version) -> Version:
    made = service.Registration(
        uri="gyre://runs/r/1", digest="sha256:1", run="projects/acme/runs/r", base_version=base.name
    )
    row = await service.register_version(session, base.model, made)
    await service.finish_version(session, row, replace(STORED, digest="sha256:7", origin=base.origin))
    return row


async def test_the_base_is_found_by_its_source_its_origin_and_its_name(session: Session) -> None:
    smol = await version(session, "smol", "bundled://smollm2", origin="HuggingFaceTB/SmolLM2-135M-Instruct (a file)")
    qwen = await version(session, "qwen", "ms://Qwen/Qwen3-0.6B", "sha256:2")
    made = await trained(session, smol)
    expected = {
        "HuggingFaceTB/SmolLM2-135M-Instruct": smol,  # and not what was trained on it
        "https://huggingface.co/Qwen/Qwen3-0.6B": qwen,
        "Qwen/Qwen3-0.6B": qwen,
        "qwen": qwen,
        "smol@2": made,
        made.name: made,
    }
    for named, base in expected.items():
        assert await adapters.base_named(session, "acme", named) == base.name, named


async def test_a_base_that_is_not_here_is_asked_for_and_so_is_one_of_several(session: Session) -> None:
    first = await version(session, "first", "hf://a/b")
    with pytest.raises(adapters.BaseUnknown) as unknown:
        await adapters.base_named(session, "acme", "/home/maria/base")
    assert unknown.value.metadata["named"] == "/home/maria/base"
    with pytest.raises(adapters.BaseUnknown):
        await adapters.base_named(session, "acme", "")
    with pytest.raises(adapters.BaseUnknown):
        await adapters.base_named(session, "other", "a/b")
    again = await version(session, "second", "hf://a/b")
    assert await adapters.base_named(session, "acme", "a/b") in (first.name, again.name)  # the same bytes
    other = await version(session, "second", "hf://a/b", "sha256:9")
    with pytest.raises(adapters.BaseAmbiguous) as several:
        await adapters.base_named(session, "acme", "a/b")
    assert other.name in several.value.metadata["versions"]


async def test_what_was_sent_gets_the_form_for_engines_by_itself(session: Session) -> None:
    base = await version(session, "base")
    polite = await adapters.create_sent(session, base.name, "polite", SENT)
    with pytest.raises(adapters.NoAdapter):
        await adapters.create_adapter(session, base.name, "polite")  # not ready yet
    await variants.finish_variant(session, polite, uri="gyre://r/m.json", digest="sha256:3", size_bytes=1, note="")
    made = await resources.get(session, Variant, f"{polite.name}-gguf")
    assert (made.state, made.format, made.source) == (VariantState.CREATING, "GGUF_ADAPTER", polite.name)
    await variants.fail_variant(session, made, "BAD_SOURCE", "DoRA")
    assert (await adapters.create_adapter(session, base.name, "polite")).state == VariantState.CREATING
    await variants.finish_variant(session, made, uri="gyre://r/x", digest="sha256:4", size_bytes=1, note="")
    links = await history.links_at(session, [made.name], session.clock.now(), upstream=True)
    assert (polite.name, made.name) in [(link.source, link.target) for link in links]
    assert len(await store.variants_of(session, base.name)) == 3


async def test_a_name_that_another_variant_has_is_refused(session: Session) -> None:
    base = await version(session, "base")
    await variants.create_variant(session, base.name, "Q8_0")
    with pytest.raises(adapters.VariantExists):
        await adapters.create_sent(session, base.name, "q8-0", SENT)
    await adapters.create_sent(session, base.name, "polite", SENT)
    with pytest.raises(adapters.VariantExists):
        await adapters.create_sent(session, base.name, "polite", "gyre://registry/uploads/another")
