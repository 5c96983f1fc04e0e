"""Parse, call, render: batches over data set versions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gyre.inference_gateway.v1 import inference_batch_pb2, inference_batch_service_pb2
from gyre.inference_gateway.v1.inference_batch_service_pb2_grpc import InferenceBatchServiceServicer
from gyre_kit.app import Context
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.names import project_of, slug
from gyre_kit.render import render

from services.inference_gateway import service
from services.inference_gateway.batches import rows as batch_rows
from services.inference_gateway.batches import service as batches
from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.batches.service import Question
from services.inference_gateway.models.batches import InferenceBatch

HOTTEST = 2.0
LONGEST_SYSTEM = 100_000


class SourceRequired(Invalid):
    """source_version names a data set version of this project."""


class ModelRequired(Invalid):
    """model names a deployment of this project."""


class BadSampling(Invalid):
    """max_tokens is 0 or more, temperature from 0 to 2, and system a text of at most 100,000 characters."""


class InferenceBatchApi(InferenceBatchServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateInferenceBatch(
        self, request: inference_batch_service_pb2.CreateInferenceBatchRequest, _: Any
    ) -> inference_batch_pb2.InferenceBatch:
        project, question = project_of(request.parent), _question(request)
        source = _source(request)
        dataset = slug(request.result_dataset or f"{source.split('/')[3][:56]}-answers")
        async with self.db.transaction() as session:
            await service.existing(session, f"{request.parent}/deployments/{question.model.partition('@')[0]}")
        await batch_rows.check(self.context.clients, source, f"{request.parent}/datasets/{dataset}")
        async with self.db.transaction() as session:
            batch = await batches.create_from_version(
                session,
                project,
                source,
                question,
                dataset,
                window=_window(request.completion_window.ToTimedelta()),
                display_name=request.display_name,
                request_id=request.request_id,
            )
        self.context.wake()
        return to_proto(batch)

    async def GetInferenceBatch(
        self, request: inference_batch_service_pb2.GetInferenceBatchRequest, _: Any
    ) -> inference_batch_pb2.InferenceBatch:
        async with self.db.transaction() as session:
            return to_proto(await batches.existing(session, request.name))

    async def ListInferenceBatches(
        self, request: inference_batch_service_pb2.ListInferenceBatchesRequest, _: Any
    ) -> inference_batch_service_pb2.ListInferenceBatchesResponse:
        async with self.db.transaction() as session:
            found = await batch_store.batch_page(session, request)
        return inference_batch_service_pb2.ListInferenceBatchesResponse(
            inference_batches=[to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelInferenceBatch(
        self, request: inference_batch_service_pb2.CancelInferenceBatchRequest, _: Any
    ) -> inference_batch_pb2.InferenceBatch:
        async with self.db.transaction() as session:
            batch = await batches.cancel(session, request.name, request.etag)
        self.context.wake()
        return to_proto(batch)


def to_proto(batch: InferenceBatch) -> inference_batch_pb2.InferenceBatch:
    return render(batch, inference_batch_pb2.InferenceBatch)


def _question(request: inference_batch_service_pb2.CreateInferenceBatchRequest) -> Question:
    temperature = request.temperature if request.HasField("temperature") else None
    if not request.model:
        raise ModelRequired(field="model")
    if request.max_tokens < 0 or len(request.system) > LONGEST_SYSTEM:
        raise BadSampling(field="max_tokens" if request.max_tokens < 0 else "system")
    if temperature is not None and not 0 <= temperature <= HOTTEST:
        raise BadSampling(field="temperature")
    return Question(request.model, request.system, request.max_tokens, temperature)


def _source(request: inference_batch_service_pb2.CreateInferenceBatchRequest) -> str:
    """Raises: SourceRequired; NotFound for another project's version."""
    parts = request.source_version.split("/")
    if len(parts) != 6 or parts[::2] != ["projects", "datasets", "versions"]:
        raise SourceRequired(field="source_version")
    if parts[1] != project_of(request.parent):
        raise NotFound(name=request.source_version)
    return str(request.source_version)


def _window(asked: timedelta) -> str:
    """As `/v1/batches` writes it, in whole hours."""
    if not asked:
        return batches.DEFAULT_WINDOW
    hours, rest = divmod(asked, timedelta(hours=1))
    if rest or not 1 <= hours <= 720:
        raise batches.BadWindow(field="completion_window", given=str(asked))
    return f"{hours}h"
