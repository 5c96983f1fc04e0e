"""Parse, call, render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf import empty_pb2
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2, upload_pb2, upload_service_pb2, version_pb2
from gyre.dataset.v1 import version_service_pb2 as versions_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer
from gyre.dataset.v1.upload_service_pb2_grpc import UploadServiceServicer
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.names import last, project_of
from gyre_kit.render import enum_name, render

from services.dataset import creation, service, store, uploads, viewer
from services.dataset.models import Dataset, Version


class DatasetApi(DatasetServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def CreateDataset(self, request: dataset_service_pb2.CreateDatasetRequest, _: Any) -> dataset_pb2.Dataset:
        new = service.NewDataset(
            project=project_of(request.parent),
            dataset_id=request.dataset_id,
            type=enum_name(request, "type"),
            display_name=request.display_name,
            description=request.description,
            origin=request.origin,
            licence=request.licence,
            language=request.language,
            request_id=request.request_id,
        )
        async with self.db.transaction() as session:
            return dataset_to_proto(await service.create_dataset(session, new))

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, _: Any) -> dataset_pb2.Dataset:
        async with self.db.transaction() as session:
            return dataset_to_proto(await service.get_dataset(session, request.name))

    async def ListDatasets(
        self, request: dataset_service_pb2.ListDatasetsRequest, _: Any
    ) -> dataset_service_pb2.ListDatasetsResponse:
        async with self.db.transaction() as session:
            found = await store.dataset_page(session, project_of(request.parent), request)
        return dataset_service_pb2.ListDatasetsResponse(
            datasets=[dataset_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateDataset(self, request: dataset_service_pb2.UpdateDatasetRequest, _: Any) -> dataset_pb2.Dataset:
        given = request.dataset
        changes = {path: getattr(given, path, "") for path in request.update_mask.paths}
        async with self.db.transaction() as session:
            return dataset_to_proto(await service.update_dataset(session, given.name, changes, etag=given.etag))

    async def DeleteDataset(self, request: dataset_service_pb2.DeleteDatasetRequest, _: Any) -> dataset_pb2.Dataset:
        async with self.db.transaction() as session:
            return dataset_to_proto(await service.delete_dataset(session, request.name, etag=request.etag))


class UploadApi(UploadServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def UploadFile(
        self, requests: AsyncIterator[upload_service_pb2.UploadFileRequest], _: Any
    ) -> upload_pb2.Upload:
        return render(await uploads.receive(self.context, requests), upload_pb2.Upload)


class VersionApi(VersionServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateVersion(self, request: versions_pb2.CreateVersionRequest, _: Any) -> version_pb2.Version:
        new = creation.NewVersion(
            dataset=request.parent,
            source_uri=request.source_uri,
            display_name=request.display_name,
            row_format=enum_name(request, "row_format"),
            file_type=enum_name(request, "file_type"),
            split_settings=_split_settings(request.split_settings),
            mix_in=[{"version": mix.version, "max_rows": mix.max_rows} for mix in request.mix_in],
            origin=request.origin,
            licence=request.licence,
            derived_from=list(request.derived_from),
            request_id=request.request_id,
        )
        async with self.db.transaction() as session:
            version = await creation.create_version(session, new, by=caller())
        self.context.wake()
        return version_to_proto(version)

    async def GetVersion(self, request: versions_pb2.GetVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            version = await service.get_version(session, request.name)
            return version_to_proto(version, await store.pins_of(session, [version.name]))

    async def ListVersions(
        self, request: versions_pb2.ListVersionsRequest, _: Any
    ) -> versions_pb2.ListVersionsResponse:
        dataset = "" if last(request.parent) == "-" else request.parent
        async with self.db.transaction() as session:
            if dataset:
                await service.get_dataset(session, dataset)
            project = project_of(request.parent)
            found = await store.version_page(session, project, dataset, request)
            pins = await store.pins_of(session, [row.name for row in found.rows])
        return versions_pb2.ListVersionsResponse(
            versions=[version_to_proto(row, [pin for pin in pins if pin.version == row.name]) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def DeleteVersion(self, request: versions_pb2.DeleteVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            return version_to_proto(await service.delete_version(session, request.name, etag=request.etag))

    async def ListRows(self, request: versions_pb2.ListRowsRequest, _: Any) -> versions_pb2.ListRowsResponse:
        async with self.db.transaction() as session:
            version = await service.ready_version(session, request.parent)
        asked = viewer.RowsAsked(
            page_size=request.page_size,
            page_token=request.page_token,
            split=enum_name(request, "split"),
            slice=request.slice,
            query=request.query,
        )
        found = await viewer.rows_page(self.context, version, asked)
        return versions_pb2.ListRowsResponse(
            rows=[_row_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListRejects(self, request: versions_pb2.ListRejectsRequest, _: Any) -> versions_pb2.ListRejectsResponse:
        async with self.db.transaction() as session:
            version = await service.get_version(session, request.parent)
        found = await viewer.rejects_page(
            self.context, version, filter=request.filter, page_size=request.page_size, page_token=request.page_token
        )
        return versions_pb2.ListRejectsResponse(
            rejects=[version_pb2.Reject(**reject) for reject in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def PinVersion(self, request: versions_pb2.PinVersionRequest, _: Any) -> version_pb2.Version:
        async with self.db.transaction() as session:
            version = await service.pin_version(session, request.name, request.holder, request.ttl.ToTimedelta())
            return version_to_proto(version, await store.pins_of(session, [version.name]))

    async def UnpinVersion(self, request: versions_pb2.UnpinVersionRequest, _: Any) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await service.get_version(session, request.name)
            await store.unpin(session, request.name, request.holder)
        return empty_pb2.Empty()


def dataset_to_proto(dataset: Dataset) -> dataset_pb2.Dataset:
    return render(dataset, dataset_pb2.Dataset)


def version_to_proto(version: Version, pins: Sequence[Any] = ()) -> version_pb2.Version:
    return render(version, version_pb2.Version, pins=[render(pin, version_pb2.Pin) for pin in pins])


def _row_to_proto(row: dict[str, Any]) -> version_pb2.Row:
    turns = {column: row[column] for column in viewer.TURN_COLUMNS if column in row}
    if "prompt" in turns:
        turns.pop("messages", None)  # the same turns once more
    return version_pb2.Row(
        id=row["id"],
        split=version_pb2.Split.Value(f"SPLIT_{row['split']}"),
        slice=row["slice"],
        source_line=row["source_line"],
        meta_json=row["meta"],
        **turns,
    )


def _split_settings(given: version_pb2.SplitSettings) -> dict[str, Any]:
    """Only what was set, so that the service can tell what was not."""
    settings = {field.name: value for field, value in given.ListFields() if field.name != "holdouts"}
    if given.holdouts:
        settings["holdouts"] = [{"slice": one.slice, "test_rows": one.test_rows} for one in given.holdouts]
    return settings
