from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gyre.dataset.v1 import version_service_pb2 as versions_pb2
from gyre_kit import migrate
from gyre_kit.auth import Identity, Role
from gyre_kit.db import Session, enter_project
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import ENGINEER, PROJECT, ManualClock, Platform, outbox_of

from services.dataset import creation, service, store
from services.dataset.models import Dataset, DatasetState, Upload, Version, VersionState

SERVICE = Identity(subject="services/feedback", project=PROJECT, role=Role.ADMIN, service="feedback")
FACTS = {"digest": "sha256:1", "row_count": 10, "train_count": 8, "test_count": 2, "size_bytes": 100, "uri": "gyre://x"}
UPLOADED = "gyre://dataset/uploads/1"


async def dataset(session: Session, dataset_id: str = "hotline", **fields: str) -> Dataset:
    return await service.create_dataset(session, service.NewDataset(PROJECT, dataset_id, **({"type": "SFT"} | fields)))


async def uploaded(session: Session, uri: str = UPLOADED) -> str:
    name = f"projects/{PROJECT}/uploads/{uri[-1]}"
    upload = Upload(name=name, project=PROJECT, uri=uri, filename="rows.jsonl", size_bytes=1, digest="sha256:0")
    await service.keep_upload(session, upload)
    return uri


async def version(session: Session, of: Dataset, by: Identity = ENGINEER, **fields: Any) -> Version:
    new = creation.NewVersion(of.name, **({"source_uri": UPLOADED} | fields))
    return await creation.create_version(session, new, by=by)


@pytest.fixture
async def hotline(session: Session) -> Dataset:
    await uploaded(session)
    return await dataset(session, origin="written for Gyre", licence="Apache-2.0")


async def ready(session: Session, of: Dataset, **fields: Any) -> Version:
    made = await version(session, of, **fields)
    await creation.finish_version(session, made, FACTS)
    return made


async def test_models_and_migrations_agree(platform: Platform) -> None:
    url = platform.settings().database_url_of("dataset")
    await migrate.upgrade(url, "dataset")
    assert await migrate.differences(url, "dataset") == []


async def test_a_data_set_has_a_name_a_type_an_origin_and_a_licence(hotline: Dataset) -> None:
    assert hotline.name == "projects/acme/datasets/hotline"
    assert (hotline.type, hotline.origin, hotline.licence) == ("SFT", "written for Gyre", "Apache-2.0")
    assert (hotline.display_name, hotline.created_by) == ("hotline", ENGINEER.subject)


@pytest.mark.parametrize("dataset_id", ["", "Hotline", "a/b", "-a", "x" * 64, "../up"])
async def test_a_bad_id_is_refused(session: Session, dataset_id: str) -> None:
    with pytest.raises(service.InvalidSlug):
        await dataset(session, dataset_id)


async def test_a_data_set_without_a_type_is_refused(session: Session) -> None:
    with pytest.raises(service.TypeRequired):
        await dataset(session, type="")


async def test_creating_twice_is_one_data_set_with_a_request_id_and_an_error_without(session: Session) -> None:
    first = await dataset(session, request_id="r-1")
    assert (await dataset(session, request_id="r-1")).name == first.name
    with pytest.raises(service.DatasetExists):
        await dataset(session, request_id="r-2")


async def test_versions_that_had_the_licence_of_their_data_set_follow_its_correction(
    session: Session, hotline: Dataset
) -> None:
    follows, own = await ready(session, hotline), await ready(session, hotline, licence="MIT")
    await service.update_dataset(session, hotline.name, {"licence": "CC-BY-NC-4.0"})
    assert (follows.licence, own.licence) == ("CC-BY-NC-4.0", "MIT")
    said = [subject for kind, subject in await outbox_of(session) if kind == "VersionLicenceChanged"]
    assert said == [follows.name]


async def test_only_descriptive_fields_can_be_changed(session: Session, hotline: Dataset) -> None:
    changed = await service.update_dataset(session, hotline.name, {"licence": "MIT"})
    assert changed.licence == "MIT"
    with pytest.raises(service.FieldImmutable):
        await service.update_dataset(session, hotline.name, {"type": "PREFERENCE"})


async def test_a_stale_etag_is_refused(session: Session, hotline: Dataset) -> None:
    stale = hotline.etag
    await service.update_dataset(session, hotline.name, {"description": "new"})
    with pytest.raises(EtagMismatch):
        await service.update_dataset(session, hotline.name, {"description": "newer"}, etag=stale)
    with pytest.raises(EtagMismatch):
        await service.delete_dataset(session, hotline.name, etag=stale)


async def test_versions_count_from_one_and_inherit_origin_and_licence(session: Session, hotline: Dataset) -> None:
    versions = [await version(session, hotline) for _ in range(3)]
    assert [one.name.rsplit("/", 1)[-1] for one in versions] == ["1", "2", "3"]
    assert {one.state for one in versions} == {VersionState.IMPORTING}
    assert (versions[0].origin, versions[0].licence) == ("written for Gyre", "Apache-2.0")
    assert hotline.latest_version_state == "IMPORTING"


async def test_a_version_needs_a_source_that_is_there(session: Session, hotline: Dataset) -> None:
    with pytest.raises(creation.SourceRequired):
        await version(session, hotline, source_uri="")
    with pytest.raises(creation.SourceNotFound):
        await version(session, hotline, source_uri="gyre://dataset/uploads/none")


async def test_people_import_their_uploads_and_services_any_object(session: Session, hotline: Dataset) -> None:
    batch = "gyre://feedback/batches/1.jsonl"
    with pytest.raises(creation.SourceNotFound):
        await version(session, hotline, source_uri=batch)
    made = await version(session, hotline, by=SERVICE, source_uri=batch)
    assert made.source_filename == "1.jsonl"


async def test_an_upload_of_another_project_cannot_be_imported(session: Session, hotline: Dataset) -> None:
    await enter_project(session, "other")
    theirs = await service.create_dataset(session, service.NewDataset("other", "theirs", "SFT"))
    with pytest.raises(creation.SourceNotFound):
        await version(session, theirs)


@pytest.mark.parametrize(
    "settings",
    [
        {"test_fraction": 1.0},
        {"test_fraction": -0.1},
        {"near_duplicate_threshold": 0.2},
        {"holdouts": [{"slice": "a", "test_rows": 0}]},
        {"holdouts": [{"slice": "a", "test_rows": 1}, {"slice": "a", "test_rows": 2}]},
    ],
)
async def test_a_split_that_cannot_be_is_refused(session: Session, hotline: Dataset, settings: dict[str, Any]) -> None:
    with pytest.raises(creation.BadSplit):
        await version(session, hotline, split_settings=settings)


async def test_an_unset_split_has_its_defaults_and_an_evaluation_set_is_held_out(session: Session) -> None:
    await uploaded(session)
    training, measuring = await dataset(session, "one"), await dataset(session, "two", type="EVALUATION")
    assert (await version(session, training)).split_settings == {
        "test_fraction": 0.2,
        "seed": 0,
        "holdouts": [],
        "near_duplicate_threshold": 0.7,
    }
    assert (await version(session, measuring)).split_settings["test_fraction"] == 1.0
    assert (await version(session, training, split_settings={"test_fraction": 0.0})).split_settings[
        "test_fraction"
    ] == 0


async def test_ready_versions_of_the_same_type_can_be_mixed_in(session: Session, hotline: Dataset) -> None:
    first = await ready(session, hotline)
    mixed = await version(
        session,
        hotline,
        source_uri="",
        mix_in=[{"version": first.name, "max_rows": 5}],
        derived_from=["projects/acme/batches/1"],
    )
    assert mixed.derived_from == [first.name, "projects/acme/batches/1"]
    pairs = await dataset(session, "pairs", type="PREFERENCE")
    with pytest.raises(creation.TypeMismatch):
        await version(session, pairs, mix_in=[{"version": first.name}])
    with pytest.raises(service.VersionNotReady):
        await version(session, hotline, mix_in=[{"version": mixed.name}])
    with pytest.raises(service.VersionNotFound):
        await version(session, hotline, mix_in=[{"version": f"{hotline.name}/versions/99"}])


async def test_a_finished_import_says_so_and_sums_up_in_its_data_set(session: Session, hotline: Dataset) -> None:
    made = await ready(session, hotline)
    assert made.state == VersionState.READY
    assert (hotline.latest_version, hotline.row_count, hotline.size_bytes) == (made.name, 10, 100)
    assert await outbox_of(session) == [("VersionReady", made.name)]


async def test_a_failed_import_says_why_and_leaves_the_newest_ready_version(session: Session, hotline: Dataset) -> None:
    good, bad = await ready(session, hotline), await version(session, hotline)
    await creation.fail_version(session, bad, {"failure_reason": "EMPTY_FILE", "failure_message": "Line 1: empty."})
    assert (hotline.latest_version, hotline.latest_version_state) == (good.name, "FAILED")
    assert (await outbox_of(session))[-1] == ("VersionFailed", bad.name)


async def test_a_pinned_version_cannot_be_deleted_until_it_is_let_go(session: Session, hotline: Dataset) -> None:
    made = await ready(session, hotline)
    await service.pin_version(session, made.name, "projects/acme/runs/1", timedelta(hours=1))
    for delete in (service.delete_version(session, made.name), service.delete_dataset(session, hotline.name)):
        with pytest.raises(service.Pinned) as caught:
            await delete
        assert caught.value.metadata["holders"] == "projects/acme/runs/1"
    await store.unpin(session, made.name, "projects/acme/runs/1")
    assert (await service.delete_version(session, made.name)).state == VersionState.DELETED


async def test_a_pin_expires_and_can_be_renewed(session: Session, hotline: Dataset, clock: ManualClock) -> None:
    made = await ready(session, hotline)
    for _ in range(2):
        await service.pin_version(session, made.name, "projects/acme/runs/1", timedelta(hours=1))
        clock.advance(minutes=50)
    assert len(await store.pins_of(session, [made.name])) == 1
    clock.advance(minutes=11)
    assert await store.pins_of(session, [made.name]) == []
    await service.delete_version(session, made.name)


async def test_a_pin_names_its_holder_and_ends(session: Session, hotline: Dataset) -> None:
    made = await ready(session, hotline)
    with pytest.raises(service.HolderRequired):
        await service.pin_version(session, made.name, "", timedelta(hours=1))
    for ttl in (timedelta(0), timedelta(days=31)):
        with pytest.raises(service.BadTtl):
            await service.pin_version(session, made.name, "x", ttl)
    importing = await version(session, hotline)
    with pytest.raises(service.VersionNotReady):
        await service.pin_version(session, importing.name, "x", timedelta(hours=1))


async def test_deleting_a_data_set_leaves_tombstones_of_it_and_its_versions(session: Session, hotline: Dataset) -> None:
    made, importing = await ready(session, hotline), await version(session, hotline)
    await service.delete_dataset(session, hotline.name)
    assert hotline.state == DatasetState.DELETED
    assert {made.state, importing.state} == {VersionState.DELETED}
    assert [kind for kind, _ in await outbox_of(session)] == ["VersionReady", "VersionDeleted", "VersionDeleted"]
    with pytest.raises(service.DatasetNotFound):
        await version(session, hotline)
    with pytest.raises(service.DatasetExists):
        await dataset(session)


async def test_things_of_another_project_do_not_exist(session: Session, hotline: Dataset) -> None:
    made = await ready(session, hotline)
    await enter_project(session, "other")
    with pytest.raises(service.DatasetNotFound):
        await service.get_dataset(session, hotline.name)
    with pytest.raises(service.VersionNotFound):
        await service.get_version(session, made.name)


async def test_deleted_things_are_listed_only_when_asked_for(session: Session, hotline: Dataset) -> None:
    kept, gone = await ready(session, hotline), await ready(session, hotline)
    await service.delete_version(session, gone.name)

    async def listed(filter: str) -> list[str]:
        page = await store.version_page(session, PROJECT, hotline.name, versions_pb2.ListVersionsRequest(filter=filter))
        return [row.name for row in page.rows]

    assert await listed("") == [kept.name]
    assert await listed("state=DELETED") == [gone.name]
