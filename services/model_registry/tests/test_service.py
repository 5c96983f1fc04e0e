from __future__ import annotations

from datetime import timedelta

import pytest
from gyre_kit.auth import Identity, Role
from gyre_kit.db import Session
from gyre_kit.testing import ENGINEER, PROJECT, ManualClock, outbox_of

from services.model_registry import adapters, aliases, history, service, store, variants
from services.model_registry.models import Model, Variant, VariantState, Version, VersionState

ADMIN = Identity("keys/admin", PROJECT, Role.ADMIN)
STORED = service.Stored(
    uri="gyre://registry/manifests/a.json",
    digest="sha256:a",
    size_bytes=10,
    architecture="LlamaForCausalLM",
    parameter_count=7,
)


async def a_model(session: Session) -> Model:
    return await service.create_model(session, PROJECT, "hotline", {"licence": "Apache-2.0"}, "")


async def a_ready_version(session: Session, model: Model, source: str = "bundled://smollm2") -> Version:
    version = await service.import_version(session, model.name, service.Import(source=source))
    await service.finish_version(session, version, STORED)
    return version


def alias_of(model: Model) -> str:
    return f"{model.name}/aliases/champion"


async def test_versions_count_from_one_and_say_when_they_are_ready(session: Session) -> None:
    model = await a_model(session)
    names = [(await a_ready_version(session, model)).name for _ in range(2)]
    assert names == [f"{model.name}/versions/1", f"{model.name}/versions/2"]
    assert [kind for kind, _ in await outbox_of(session)] == ["VersionRegistered", "VersionRegistered"]


async def test_a_source_that_is_none_of_ours_is_refused(session: Session) -> None:
    model = await a_model(session)
    with pytest.raises(service.BadSource):
        await service.import_version(session, model.name, service.Import(source="file:///etc/passwd"))


async def test_one_run_gives_one_version_however_often_it_is_registered(session: Session) -> None:
    model = await a_model(session)
    made = service.Registration(uri="gyre://runs/r/1", digest="sha256:1", run="projects/acme/runs/r")
    first = await service.register_version(session, model.name, made)
    assert (await service.register_version(session, model.name, made)).name == first.name
    other = service.Registration(uri="gyre://runs/r/2", digest="sha256:2", run="projects/acme/runs/r")
    with pytest.raises(service.DigestMismatch):
        await service.register_version(session, model.name, other)


async def test_a_pinned_version_cannot_be_deleted_until_the_pin_expires(session: Session, clock) -> None:  # type: ignore[no-untyped-def]
    version = await a_ready_version(session, await a_model(session))
    await service.pin_version(session, version.name, "projects/acme/runs/r", timedelta(hours=1))
    with pytest.raises(service.Pinned, match="runs/r"):
        await service.delete_version(session, version.name, "")
    clock.advance(hours=2)
    deleted = await service.delete_version(session, version.name, "")
    assert deleted.state == VersionState.DELETED
    assert ("VersionDeleted", version.name) in await outbox_of(session)


async def test_a_version_that_an_alias_points_to_cannot_be_deleted(session: Session) -> None:
    model = await a_model(session)
    version = await a_ready_version(session, model)
    await aliases.move(session, aliases.Move(alias=alias_of(model), version=version.name), by=ENGINEER)
    with pytest.raises(service.Aliased):
        await service.delete_version(session, version.name, "")


async def test_an_alias_moves_only_from_where_it_is_expected_to_be(session: Session) -> None:
    model = await a_model(session)
    first, second = [await a_ready_version(session, model) for _ in range(2)]
    await aliases.move(session, aliases.Move(alias=alias_of(model), version=first.name), by=ENGINEER)
    stale = aliases.Move(alias=alias_of(model), version=second.name, expected_version=second.name)
    with pytest.raises(aliases.VersionMismatch):
        await aliases.move(session, stale, by=ENGINEER)
    moved = aliases.Move(alias=alias_of(model), version=second.name, expected_version=first.name)
    assert (await aliases.move(session, moved, by=ENGINEER)).version == second.name
    assert await store.moves_of(session, alias_of(model)) == 2


async def test_a_repeated_move_is_written_down_once(session: Session) -> None:
    model = await a_model(session)
    version = await a_ready_version(session, model)
    wanted = aliases.Move(alias=alias_of(model), version=version.name, request_id="lap-2")
    await aliases.move(session, wanted, by=ENGINEER)
    await aliases.move(session, wanted, by=ENGINEER)
    assert await store.moves_of(session, alias_of(model)) == 1


async def test_an_alias_is_known_as_of_any_time(session: Session, clock: ManualClock) -> None:
    model = await a_model(session)
    first, second = [await a_ready_version(session, model) for _ in range(2)]
    before = clock.now()
    times = []
    for version in (first, second, first):
        clock.advance(seconds=60)
        await aliases.move(session, aliases.Move(alias=alias_of(model), version=version.name), by=ENGINEER)
        times.append(clock.now())
    seen = [
        (await aliases.resolve(session, alias_of(model), time + timedelta(seconds=30))).to_version for time in times
    ]
    assert seen == [first.name, second.name, first.name]
    assert (await aliases.resolve(session, alias_of(model), times[1])).to_version == second.name
    with pytest.raises(aliases.AliasNotFound):
        await aliases.resolve(session, alias_of(model), before)


async def test_a_gated_alias_moves_only_with_a_passing_verdict_on_that_variant(session: Session) -> None:
    model = await a_model(session)
    version = await a_ready_version(session, model)
    variant = f"{version.name}/variants/q8-0"
    gate = aliases.Move(alias=alias_of(model), version=version.name, gated=True)
    await aliases.move(session, gate, by=ENGINEER)

    def with_verdict(passed: bool, on: str) -> aliases.Move:
        verdict = aliases.Verdict("projects/acme/verdicts/v", passed, on)
        return aliases.Move(alias=alias_of(model), version=version.name, variant=variant, verdict=verdict)

    with pytest.raises(aliases.VerdictRequired):
        await aliases.move(session, aliases.Move(alias=alias_of(model), version=version.name), by=ENGINEER)
    with pytest.raises(aliases.VerdictNotPassed):
        await aliases.move(session, with_verdict(False, variant), by=ENGINEER)
    with pytest.raises(aliases.VerdictOfAnotherVariant):
        await aliases.move(session, with_verdict(True, f"{version.name}/variants/hf"), by=ENGINEER)
    assert (await aliases.move(session, with_verdict(True, variant), by=ENGINEER)).variant == variant


async def test_only_an_administrator_lifts_a_gate(session: Session) -> None:
    model = await a_model(session)
    version = await a_ready_version(session, model)
    await aliases.move(session, aliases.Move(alias=alias_of(model), version=version.name, gated=True), by=ENGINEER)
    lift = aliases.Move(alias=alias_of(model), version=version.name, gated=False)
    with pytest.raises(aliases.GateKept):
        await aliases.move(session, lift, by=ENGINEER)
    assert not (await aliases.move(session, lift, by=ADMIN)).gated


async def test_a_variant_is_made_once_and_a_failed_one_again(session: Session) -> None:
    version = await a_ready_version(session, await a_model(session))
    variant = await variants.create_variant(session, version.name, "Q8_0")
    assert variant.name == f"{version.name}/variants/q8-0"
    await variants.fail_variant(session, variant, "OUT_OF_MEMORY", "")
    again: Variant = await variants.create_variant(session, version.name, "Q8_0")
    assert (again.name, again.state) == (variant.name, VariantState.CREATING)
    with pytest.raises(variants.QuantisationUnknown):
        await variants.create_variant(session, version.name, "Q1_0")


async def test_a_calibrated_variant_is_one_of_its_own_and_names_what_it_was_calibrated_on(session: Session) -> None:
    version = await a_ready_version(session, await a_model(session))
    rows = variants.Calibration("projects/acme/datasets/hotline/versions/2", "gyre://dataset/rows", "sha256:1")
    plain = await variants.create_variant(session, version.name, "Q4_K_M")
    calibrated = await variants.create_variant(session, version.name, "Q4_K_M", rows)
    assert calibrated.name == f"{plain.name}-hotline-2"
    assert (calibrated.calibration, calibrated.calibration_digest) == (rows.dataset_version, rows.digest)
    await variants.finish_variant(session, calibrated, uri="gyre://r/x", digest="sha256:2", size_bytes=1, note="")
    assert (rows.dataset_version, calibrated.name) in [
        (edge.source, edge.target)
        for edge in await history.links_at(session, [calibrated.name], session.clock.now(), upstream=True)
    ]
    with pytest.raises(variants.CalibrationWithoutEffect):
        await variants.create_variant(session, version.name, "Q8_0", rows)


async def test_only_a_version_that_was_trained_here_on_a_base_has_an_adapter(session: Session) -> None:
    model = await a_model(session)
    imported = await a_ready_version(session, model)
    with pytest.raises(adapters.NoAdapter):
        await adapters.create_adapter(session, imported.name)
    made = service.Registration(
        uri="gyre://runs/r/1", digest="sha256:1", run="projects/acme/runs/r", base_version=imported.name
    )
    trained = await service.register_version(session, model.name, made)
    await service.finish_version(session, trained, STORED)
    adapter = await adapters.create_adapter(session, trained.name)
    assert (adapter.name, adapter.format) == (f"{trained.name}/variants/adapter", "GGUF_ADAPTER")
    await variants.fail_variant(session, adapter, "OUT_OF_MEMORY", "")
    assert (await adapters.create_adapter(session, trained.name)).state == VariantState.CREATING
