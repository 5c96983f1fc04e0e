"""The service as others see it: real gRPC, real imports in their own process."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2, upload_pb2, upload_service_pb2, version_pb2
from gyre.dataset.v1 import version_service_pb2 as versions_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.dataset.v1.upload_service_pb2_grpc import UploadServiceStub
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.rpc import Clients
from gyre_kit.storage import digest_of, digest_of_file
from gyre_kit.testing import ENGINEER, STRANGER, VIEWER, Platform, eventually, expect_rpc_error

from services.dataset import main
from services.dataset.models import TABLES
from services.dataset.settings import Settings
from services.dataset.tests.samples import hotline, jsonl, pair

Type = dataset_pb2.Dataset
State = version_pb2.Version
LIMIT = 3_000_000


@dataclass
class Caller:
    """The three stubs, and shorthands for what most tests do."""

    context: Context
    clients: Clients

    def __post_init__(self) -> None:
        self.datasets = self.clients.stub(DatasetServiceStub)
        self.uploads = self.clients.stub(UploadServiceStub)
        self.versions = self.clients.stub(VersionServiceStub)

    async def dataset(self, dataset_id: str, type: int = Type.TYPE_SFT) -> dataset_pb2.Dataset:
        request = dataset_service_pb2.CreateDatasetRequest(
            parent="projects/acme", dataset_id=dataset_id, type=type, request_id=dataset_id
        )
        return await self.datasets.CreateDataset(request)

    async def upload(self, content: bytes, filename: str = "rows.jsonl", **header: str) -> upload_pb2.Upload:
        given = upload_service_pb2.UploadHeader(**({"parent": "projects/acme", "filename": filename} | header))

        async def parts() -> AsyncIterator[upload_service_pb2.UploadFileRequest]:
            yield upload_service_pb2.UploadFileRequest(header=given)
            for start in range(0, len(content), 1 << 20):
                yield upload_service_pb2.UploadFileRequest(chunk=content[start : start + (1 << 20)])

        return await self.uploads.UploadFile(parts())

    async def create(self, dataset: str, **fields: Any) -> version_pb2.Version:
        return await self.versions.CreateVersion(versions_pb2.CreateVersionRequest(parent=dataset, **fields))

    async def done(self, name: str) -> version_pb2.Version:
        """The version as soon as it is no longer IMPORTING."""

        async def finished() -> version_pb2.Version | None:
            version = await self.versions.GetVersion(versions_pb2.GetVersionRequest(name=name))
            return version if version.state != State.STATE_IMPORTING else None

        version: version_pb2.Version = await eventually(finished)
        return version

    async def imported(self, dataset: str, content: bytes, filename: str = "rows.jsonl", **fields: Any) -> Any:
        upload = await self.upload(content, filename)
        return await self.done((await self.create(dataset, source_uri=upload.uri, **fields)).name)

    async def traces(self) -> tuple[dict[str, int], list[str]]:
        """Row counts of all tables and the objects of the store."""
        counts = {}
        async with self.context.db.transaction() as session:
            for table in TABLES.metadata.sorted_tables:
                counts[table.name] = await session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        return counts, await self.context.store.list("dataset")


@pytest.fixture(scope="module")
async def served(platform: Platform) -> AsyncIterator[Caller]:
    app = replace(main.app, settings=platform.settings(Settings, max_upload_bytes=LIMIT))
    async with platform.serving(app) as [context]:
        clients = platform.clients()
        yield Caller(context, clients)
        await clients.close()
    await platform.empty("dataset")


@pytest.fixture
async def call(served: Caller) -> AsyncIterator[Caller]:
    with acting_as(ENGINEER):
        yield served


async def test_a_file_becomes_a_version_with_files_digests_and_a_profile(call: Caller) -> None:
    dataset = await call.dataset("first")
    content = jsonl(hotline(40))
    upload = await call.upload(content)
    assert (upload.size_bytes, upload.digest) == (len(content), digest_of(content))
    assert upload.detected_row_format == version_pb2.ROW_FORMAT_PROMPT_COMPLETION
    assert (upload.detected_file_type, upload.detected_encoding) == (version_pb2.FILE_TYPE_JSONL, "utf-8")
    started = await call.create(dataset.name, source_uri=upload.uri, request_id="once")
    assert started.state == State.STATE_IMPORTING
    assert (await call.create(dataset.name, source_uri=upload.uri, request_id="once")).name == started.name
    version = await call.done(started.name)
    assert version.state == State.STATE_READY, version.failure_message
    assert (version.row_count, version.train_count, version.test_count, version.refused_count) == (40, 32, 8, 0)
    assert version.split_settings.test_fraction == 0.2
    assert json.loads(version.profile_json)["rows"] == 40
    for uri, digest in ((version.train_uri, version.train_digest), (version.test_uri, version.test_digest)):
        path = call.context.store.local_path(uri.removeprefix("gyre://"))
        assert path is not None
        assert digest_of_file(path) == digest
    keys = await call.context.store.list(version.uri.removeprefix("gyre://"))
    assert [Path(key).name for key in keys] == [
        "profile.json", "rejects.jsonl", "rows.parquet", "test.parquet", "train.parquet",
    ]  # fmt: skip
    listed = await call.datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(name=dataset.name))
    assert (listed.latest_version, listed.row_count, listed.size_bytes) == (version.name, 40, version.size_bytes)


async def test_rows_come_in_pages_by_side_by_slice_and_by_search(call: Caller) -> None:
    rows = hotline(30)
    version = await call.imported((await call.dataset("rows")).name, jsonl(rows))
    request = versions_pb2.ListRowsRequest(parent=version.name, page_size=7, split=version_pb2.SPLIT_TRAIN)
    seen: list[version_pb2.Row] = []
    while True:
        reply = await call.versions.ListRows(request)
        assert reply.total_size == 24
        seen += reply.rows
        if not reply.next_page_token:
            break
        request.page_token = reply.next_page_token
    assert len({row.id for row in seen}) == 24
    assert [row.source_line for row in seen] == sorted(row.source_line for row in seen)
    ticket = rows[3]["prompt"].rsplit(" ", 1)[-1]
    [found] = (await call.versions.ListRows(versions_pb2.ListRowsRequest(parent=version.name, query=ticket))).rows
    assert [turn.role for turn in found.messages] == ["user", "assistant"]
    assert found.messages[0].content == rows[3]["prompt"]
    of_slice = versions_pb2.ListRowsRequest(parent=version.name, slice="roads")
    assert (await call.versions.ListRows(of_slice)).total_size == sum(row["slice"] == "roads" for row in rows)
    async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT):
        of_slice.page_token = request.page_token
        await call.versions.ListRows(of_slice)


async def test_refused_rows_are_shown_with_line_field_and_remedy(call: Caller) -> None:
    rows = hotline(5)
    content = jsonl([*rows, rows[0], {"prompt": "a", "completion": ""}]) + b"{broken\n"
    version = await call.imported((await call.dataset("rejects")).name, content)
    assert (version.row_count, version.refused_count, version.duplicate_count) == (5, 3, 1)
    reply = await call.versions.ListRejects(versions_pb2.ListRejectsRequest(parent=version.name))
    assert [(one.line, one.field, one.reason) for one in reply.rejects] == [
        (6, "", "EXACT_DUPLICATE"),
        (7, "completion", "EMPTY_CONTENT"),
        (8, "", "BROKEN_JSON"),
    ]
    assert all(one.remedy and one.excerpt for one in reply.rejects)
    filtered = versions_pb2.ListRejectsRequest(parent=version.name, filter="reason=BROKEN_JSON")
    assert (await call.versions.ListRejects(filtered)).total_size == 1


async def test_an_import_without_a_usable_row_fails_and_shows_its_rejects(call: Caller) -> None:
    dataset = await call.dataset("pairs-wanted", Type.TYPE_PREFERENCE)
    version = await call.imported(dataset.name, jsonl(hotline(3)))
    assert version.state == State.STATE_FAILED
    assert version.failure_reason == "NO_ROWS_ACCEPTED"
    assert "Line 1, field chosen: MISSING_FIELD" in version.failure_message
    assert (await call.versions.ListRejects(versions_pb2.ListRejectsRequest(parent=version.name))).total_size == 3
    async with expect_rpc_error(grpc.StatusCode.FAILED_PRECONDITION):
        await call.versions.ListRows(versions_pb2.ListRowsRequest(parent=version.name))


async def test_pairs_are_imported_and_shown_as_pairs(call: Caller) -> None:
    dataset = await call.dataset("pairs", Type.TYPE_PREFERENCE)
    version = await call.imported(dataset.name, jsonl([pair(row["prompt"]) for row in hotline(5)]))
    [row, *_] = (await call.versions.ListRows(versions_pb2.ListRowsRequest(parent=version.name))).rows
    assert (row.chosen[0].content, row.rejected[0].content, len(row.messages)) == ("Yes, gladly.", "No.", 0)


async def test_a_version_may_be_mixed_of_others(call: Caller) -> None:
    dataset = await call.dataset("mixed")
    old = await call.imported(dataset.name, jsonl(hotline(50)))
    mix = [version_pb2.MixIn(version=old.name, max_rows=10)]
    new = await call.imported(
        dataset.name, jsonl(hotline(5, seed=9)), mix_in=mix, split_settings=version_pb2.SplitSettings(test_fraction=0)
    )
    assert (new.train_count, new.test_count) == (15, 10)
    assert list(new.derived_from) == [old.name]


BAD_FILES = {
    "EMPTY_FILE": (b"", "rows.jsonl"),
    "NOT_UTF8": ("x".encode("utf-16"), "rows.jsonl"),
    "NO_ROW_UNDERSTOOD": (b'{"prompt": "caf\xe9"}\n', "rows.jsonl"),
    "BROKEN_JSON": (b'[{"prompt" "x"}]', "rows.json"),
    "UNSUPPORTED_FILE": (b"PK\x03\x04....", "rows.xlsx"),
    "UNKNOWN_FILE_TYPE": (b"hello", "rows.txt"),
    "UNKNOWN_COLUMNS": (b"a,b\n1,2\n", "rows.csv"),
    "FILE_TOO_LARGE": (b"x" * (LIMIT + 1), "rows.jsonl"),
}


@pytest.mark.parametrize("reason", BAD_FILES)
async def test_a_refused_upload_leaves_nothing_behind(call: Caller, reason: str) -> None:
    before = await call.traces()
    expected = grpc.StatusCode.RESOURCE_EXHAUSTED if reason == "FILE_TOO_LARGE" else grpc.StatusCode.INVALID_ARGUMENT
    async with expect_rpc_error(expected) as caught:
        await call.upload(*BAD_FILES[reason])
    error = from_rpc(caught[0])
    assert error.reason == reason
    assert (
        ("128" in error.message or str(LIMIT) in error.message) if reason == "FILE_TOO_LARGE" else "1" in error.message
    )
    assert await call.traces() == before


async def test_an_upload_without_a_header_or_with_other_bytes_than_meant_is_refused(call: Caller) -> None:
    before = await call.traces()

    async def headless() -> AsyncIterator[upload_service_pb2.UploadFileRequest]:
        yield upload_service_pb2.UploadFileRequest(chunk=b"x")

    for sending in (call.uploads.UploadFile(headless()), call.upload(jsonl(hotline(1)), digest="sha256:0")):
        async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT):
            await sending
    assert await call.traces() == before


async def test_an_upload_that_breaks_off_leaves_nothing_behind(call: Caller) -> None:
    before = await call.traces()

    async def broken() -> AsyncIterator[upload_service_pb2.UploadFileRequest]:
        header = upload_service_pb2.UploadHeader(parent="projects/acme", filename="rows.jsonl")
        yield upload_service_pb2.UploadFileRequest(header=header)
        yield upload_service_pb2.UploadFileRequest(chunk=jsonl(hotline(2)))
        raise ConnectionError("the sender went away")

    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call.uploads.UploadFile(broken())

    async def is_gone() -> bool:
        return await call.traces() == before and not list(Path(tempfile.gettempdir()).glob("gyre-upload-*"))

    assert await eventually(is_gone)


async def test_what_is_wrong_with_a_request_leaves_nothing_behind(call: Caller) -> None:
    dataset = await call.dataset("strict")
    before = await call.traces()
    cases: list[tuple[grpc.StatusCode, str, dict[str, Any]]] = [
        (grpc.StatusCode.INVALID_ARGUMENT, "SOURCE_REQUIRED", {}),
        (grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", {"source_uri": "gyre://dataset/uploads/none"}),
        (grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", {"source_uri": "gyre://../../etc/passwd"}),
        (
            grpc.StatusCode.NOT_FOUND,
            "VERSION_NOT_FOUND",
            {"mix_in": [version_pb2.MixIn(version=f"{dataset.name}/versions/9")]},
        ),
    ]
    for code, reason, fields in cases:
        async with expect_rpc_error(code) as caught:
            await call.create(dataset.name, **fields)
        assert from_rpc(caught[0]).reason == reason
    async with expect_rpc_error(grpc.StatusCode.NOT_FOUND) as caught:
        await call.create("projects/acme/datasets/none", source_uri="gyre://dataset/uploads/none")
    assert from_rpc(caught[0]).reason == "DATASET_NOT_FOUND"
    assert await call.traces() == before


async def test_another_project_s_things_are_not_found(call: Caller) -> None:
    dataset = await call.dataset("private")
    version = await call.imported(dataset.name, jsonl(hotline(5)))
    with acting_as(STRANGER):
        for asking in (
            call.datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(name=dataset.name)),
            call.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest(parent="projects/acme")),
            call.versions.GetVersion(versions_pb2.GetVersionRequest(name=version.name)),
            call.versions.ListRows(versions_pb2.ListRowsRequest(parent=version.name)),
            call.versions.DeleteVersion(versions_pb2.DeleteVersionRequest(name=version.name)),
            call.upload(jsonl(hotline(1))),
        ):
            async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
                await asking
        theirs = dataset_service_pb2.UpdateDatasetRequest(
            dataset=dataset_pb2.Dataset(name=dataset.name, licence="MIT"), update_mask=FieldMask(paths=["licence"])
        )
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await call.datasets.UpdateDataset(theirs)


async def test_a_viewer_may_look_but_not_change(call: Caller) -> None:
    dataset = await call.dataset("viewed")
    with acting_as(VIEWER):
        await call.datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(name=dataset.name))
        for trying in (call.upload(jsonl(hotline(1))), call.create(dataset.name), call.dataset("mine")):
            async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
                await trying


async def test_a_call_without_a_token_is_unauthenticated(platform: Platform, call: Caller) -> None:
    address = platform.settings().grpc_address("dataset")
    async with grpc.aio.insecure_channel(address) as channel, expect_rpc_error(grpc.StatusCode.UNAUTHENTICATED):
        await DatasetServiceStub(channel).ListDatasets(dataset_service_pb2.ListDatasetsRequest())


async def test_pins_are_shown_and_keep_a_version(call: Caller) -> None:
    version = await call.imported((await call.dataset("pinned")).name, jsonl(hotline(5)))
    pin = versions_pb2.PinVersionRequest(name=version.name, holder="projects/acme/runs/1", ttl=Duration(seconds=3600))
    assert (await call.versions.PinVersion(pin)).train_uri == version.train_uri
    shown = await call.versions.GetVersion(versions_pb2.GetVersionRequest(name=version.name))
    assert [one.holder for one in shown.pins] == ["projects/acme/runs/1"]
    async with expect_rpc_error(grpc.StatusCode.FAILED_PRECONDITION) as caught:
        await call.versions.DeleteVersion(versions_pb2.DeleteVersionRequest(name=version.name))
    assert from_rpc(caught[0]).metadata["holders"] == "projects/acme/runs/1"
    await call.versions.UnpinVersion(versions_pb2.UnpinVersionRequest(name=version.name, holder="projects/acme/runs/1"))
    gone = await call.versions.DeleteVersion(versions_pb2.DeleteVersionRequest(name=version.name))
    assert gone.state == State.STATE_DELETED


async def test_data_sets_and_versions_are_listed_found_and_sorted(call: Caller) -> None:
    for name, count in (("list-a", 5), ("list-b", 9)):
        await call.imported((await call.dataset(name)).name, jsonl(hotline(count)))
    request = dataset_service_pb2.ListDatasetsRequest(parent="projects/acme", query="list-", order_by="row_count desc")
    found = await call.datasets.ListDatasets(request)
    assert [one.name.rsplit("/", 1)[-1] for one in found.datasets] == ["list-b", "list-a"]
    every = versions_pb2.ListVersionsRequest(parent="projects/acme/datasets/-", filter="state=READY", page_size=1)
    reply = await call.versions.ListVersions(every)
    assert len(reply.versions) == 1 and reply.next_page_token and reply.total_size >= 2
    one = versions_pb2.ListVersionsRequest(parent="projects/acme/datasets/list-a")
    assert (await call.versions.ListVersions(one)).total_size == 1
