"""A batch over a data set version: its rows as lines that OpenAI's batches know, and the answers as rows again.

Beside the lines lies a file with one row for each, in the same order: what was asked and what belongs to it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2, version_service_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit.errors import Precondition
from gyre_kit.names import last
from gyre_kit.rpc import Clients

from services.inference_gateway.models.batches import InferenceBatch
from services.inference_gateway.proxy.parts import Part

PAGE = 500


class ResultTypeMismatch(Precondition):
    """The answers are conversations: the data set that gets them must be one of the type SFT."""


class VersionNotReady(Precondition):
    """The data set version is not READY."""


async def check(clients: Clients, version: str, result: str) -> version_pb2.Version:
    """The version, if it can be asked and its answers can be kept in `result` (a data set's name).

    Raises: VersionNotReady; ResultTypeMismatch; what the dataset service answers.
    """
    request = version_service_pb2.GetVersionRequest(name=version)
    found = await clients.stub(VersionServiceStub).GetVersion(request)
    if found.state != version_pb2.Version.STATE_READY:
        raise VersionNotReady(version=version)
    kept = await _dataset(clients, result)
    if kept is not None and kept.type != dataset_pb2.Dataset.TYPE_SFT:
        raise ResultTypeMismatch(dataset=result)
    return found


async def rows(clients: Clients, version: str) -> AsyncIterator[version_pb2.Row]:
    stub, token = clients.stub(VersionServiceStub), ""
    while True:
        request = version_service_pb2.ListRowsRequest(parent=version, page_size=PAGE, page_token=token)
        reply = await stub.ListRows(request)
        for row in reply.rows:
            yield row
        token = reply.next_page_token
        if not token:
            return


def row_of(row: version_pb2.Row) -> dict[str, Any]:
    """What is asked, and what goes with it. An answer that the row has already is the one that was expected."""
    messages = [{"role": each.role, "content": each.content} for each in row.prompt or row.messages]
    expected = ""
    while len(messages) > 1 and messages[-1]["role"] == "assistant":
        expected = messages.pop()["content"]
    return {"id": row.id, "messages": messages, "slice": row.slice, "expected": expected}


def line_of(batch: InferenceBatch, row: dict[str, Any]) -> dict[str, Any]:
    """One line of the input file."""
    messages = row["messages"]
    if batch.system:
        rest = messages[1:] if messages and messages[0]["role"] == "system" else messages
        messages = [{"role": "system", "content": batch.system}, *rest]
    body: dict[str, Any] = {"model": batch.model, "messages": messages}
    if batch.max_tokens:
        body["max_tokens"] = batch.max_tokens
    if batch.temperature is not None:
        body["temperature"] = batch.temperature
    return {"custom_id": row["id"], "method": "POST", "url": batch.endpoint, "body": body}


def answered(batch: InferenceBatch, rows_path: Path, parts: dict[int, Part]) -> Iterator[dict[str, Any]]:
    """The rows of the new version: those that were answered, with the answer as the last message."""
    with rows_path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            part = parts.get(number)
            if part is None or not part.answered:
                continue
            row = json.loads(raw)
            said = part.body["choices"][0]["message"].get("content") or ""
            asked = line_of(batch, row)["body"]["messages"]
            extra = {"expected": row["expected"]} if row["expected"] else {}
            messages = [*asked, {"role": "assistant", "content": said}]
            yield {"id": row["id"], "messages": messages, "slice": row["slice"], "completion": part.request_id} | extra


async def create_version(clients: Clients, batch: InferenceBatch, models: Sequence[str], rows_uri: str) -> str:
    """Its name; the same for the same batch, however often it is asked for."""
    name = f"projects/{batch.project}/datasets/{batch.result_dataset}"
    if await _dataset(clients, name) is None:
        create = dataset_service_pb2.CreateDatasetRequest(
            parent=f"projects/{batch.project}",
            dataset_id=batch.result_dataset,
            display_name=batch.result_dataset,
            type=dataset_pb2.Dataset.TYPE_SFT,
            origin=f"answers of {batch.model}",
            request_id=f"{last(batch.name)}-dataset",
        )
        await clients.stub(DatasetServiceStub).CreateDataset(create)
    request = version_service_pb2.CreateVersionRequest(
        parent=name,
        display_name=f"{batch.model} on {batch.source_version.split('/')[3]}@{last(batch.source_version)}",
        source_uri=rows_uri,
        row_format=version_pb2.ROW_FORMAT_MESSAGES,
        split_settings=version_pb2.SplitSettings(test_fraction=0.0),
        derived_from=[batch.source_version, *models],
        request_id=last(batch.name),
    )
    return str((await clients.stub(VersionServiceStub).CreateVersion(request)).name)


async def version(clients: Clients, name: str) -> version_pb2.Version:
    return await clients.stub(VersionServiceStub).GetVersion(version_service_pb2.GetVersionRequest(name=name))


async def _dataset(clients: Clients, name: str) -> dataset_pb2.Dataset | None:
    try:
        return await clients.stub(DatasetServiceStub).GetDataset(dataset_service_pb2.GetDatasetRequest(name=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None
