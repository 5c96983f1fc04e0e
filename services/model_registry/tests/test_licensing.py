"""Which licences count for what, by the registry's own rows and by what it heard."""

from __future__ import annotations

import pytest
from gyre.dataset.v1.events_pb2 import VersionReady
from gyre.model_registry.v1.licence_pb2 import LicencePolicy, Term
from gyre.model_registry.v1.model_pb2 import Model
from gyre.training_scheduler.v1.events_pb2 import RunSucceeded
from gyre_kit.db import Session
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import ENGINEER, PROJECT

from services.model_registry import licensing, service, variants
from services.model_registry.main import app
from services.model_registry.models import Version

P = f"projects/{PROJECT}"
DATA, RUN, REWARD = f"{P}/datasets/d/versions/1", f"{P}/runs/r", f"{P}/models/reward/versions/1"


async def base_version(session: Session, licence: str, model_licence: str = "") -> Version:
    model = await service.create_model(session, PROJECT, "base", {"licence": model_licence}, "")
    version = await service.import_version(session, model.name, service.Import("bundled://smollm2", licence=licence))
    await service.finish_version(session, version, _stored())
    return version


async def trained_version(session: Session, base: Version, licence: str = "", reward: str = "") -> Version:
    """As a run's result comes about: the event, then the files, with the base's licence where the run says none."""
    event = RunSucceeded(
        name=RUN, output_uri="u", output_digest="d", register_as="hotline", base=base.name, datasets=[DATA]
    )
    event.reward_model = reward
    await app.handlers[RunSucceeded](session, event)
    version = await licensing.store.version_of_run(session, RUN)
    assert version is not None
    version.licence = licence
    await service.finish_version(session, version, _stored(licence=base.licence))
    return version


async def know_data(session: Session, **fields: object) -> None:
    await app.handlers[VersionReady](session, VersionReady(name=DATA, **fields))


async def terms(session: Session, name: str) -> tuple[set[tuple[str, str]], list[tuple[str, str]]]:
    found = licensing.terms_of(name, await licensing.ancestry(session, name))
    return {(each.term.value, each.because_of) for each in found.terms}, list(found.unknown)


async def test_a_trained_variant_has_the_terms_of_data_and_base_and_the_bases_are_not_said_twice(
    session: Session,
) -> None:
    base = await base_version(session, "CC-BY-NC-4.0")
    await know_data(session, licence="CC-BY-SA-4.0")
    version = await trained_version(session, base)
    assert version.licence == "CC-BY-NC-4.0"
    variant = await variants.create_variant(session, version.name, "Q8_0")
    assert await terms(session, variant.name) == (
        {
            ("ATTRIBUTION", base.name),
            ("NON_COMMERCIAL", base.name),
            ("ATTRIBUTION", DATA),
            ("SHARE_ALIKE", DATA),
        },
        [],
    )


async def test_a_licence_of_its_own_comes_on_top_and_takes_nothing_away(session: Session) -> None:
    base = await base_version(session, "llama3.1")
    await know_data(session, licence="own")
    version = await trained_version(session, base, licence="MIT")
    found, unknown = await terms(session, version.name)
    assert {("NAMING", base.name), ("FIELD_OF_USE", base.name), ("ATTRIBUTION", version.name)} <= found
    assert unknown == []


async def test_what_nobody_stated_or_nobody_knows_is_unknown_unless_all_of_it_came_from_elsewhere(
    session: Session,
) -> None:
    base = await base_version(session, "")
    await know_data(session, licence="house rules")
    version = await trained_version(session, base, reward=REWARD)
    _, unknown = await terms(session, version.name)
    assert set(unknown) == {(base.name, ""), (DATA, "house rules"), (REWARD, "")}
    await know_data(session, derived_from=[f"{P}/batches/b"], all_derived=True)
    assert (await terms(session, DATA))[1] == []


async def test_data_of_which_nothing_was_heard_is_asked_for_and_unknown_till_then(session: Session) -> None:
    version = await trained_version(session, await base_version(session, "MIT"))
    found = await licensing.ancestry(session, version.name)
    assert found.unheard() == [DATA]
    assert licensing.terms_of(version.name, found).unknown == [(DATA, "")]


async def test_a_model_s_licence_holds_for_imports_without_one_and_its_correction_for_those_that_had_it(
    session: Session,
) -> None:
    base = await base_version(session, "", model_licence="gemma")
    assert await terms(session, base.name) == ({("ATTRIBUTION", base.name), ("FIELD_OF_USE", base.name)}, [])
    base.licence = "gemma"
    await service.update_model(session, Model(name=base.model, licence="MIT"), ["licence"])
    assert await terms(session, base.name) == ({("ATTRIBUTION", base.name)}, [])


async def test_a_policy_is_changed_field_by_field_by_whoever_read_the_last_one(session: Session) -> None:
    name = f"{P}/licencePolicy"
    first = await licensing.policy(session, PROJECT)
    assert (first.refuse_terms, first.refuse_unknown, first.etag) == ([], False, "0")
    given = LicencePolicy(name=name, refuse_terms=[Term.TERM_NAMING, Term.TERM_NON_COMMERCIAL], etag=first.etag)
    await licensing.update_policy(session, given, ["refuse_terms"], by=ENGINEER)
    await licensing.update_policy(
        session, LicencePolicy(name=name, refuse_unknown=True), ["refuse_unknown"], by=ENGINEER
    )
    kept = await licensing.policy(session, PROJECT)
    assert (kept.refuse_terms, kept.refuse_unknown) == (["NON_COMMERCIAL", "NAMING"], True)
    with pytest.raises(EtagMismatch):
        await licensing.update_policy(session, given, ["refuse_terms"], by=ENGINEER)
    for number in (0, 99):
        with pytest.raises(licensing.TermUnknown):
            unknown = LicencePolicy(name=name, refuse_terms=[number])
            await licensing.update_policy(session, unknown, ["refuse_terms"], by=ENGINEER)
    with pytest.raises(licensing.PolicyFieldImmutable):
        await licensing.update_policy(session, given, ["updated_by"], by=ENGINEER)


def _stored(licence: str = "") -> service.Stored:
    return service.Stored(
        uri="u", digest="sha256:a", size_bytes=1, architecture="L", parameter_count=1, licence=licence
    )
