"""Parse, call, render."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gyre.feedback.v1 import batch_pb2, batch_service_pb2, feedback_pb2, feedback_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceServicer
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.names import project_of
from gyre_kit.render import enum_name, render

from services.feedback import forgetting, service, store
from services.feedback.completions import find_completion
from services.feedback.models import Batch, Feedback


class FeedbackApi(FeedbackServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def SubmitFeedback(
        self, request: feedback_service_pb2.SubmitFeedbackRequest, _: Any
    ) -> feedback_pb2.Feedback:
        project = project_of(request.parent)
        name = request.completion
        if name and not name.startswith("projects/"):
            name = f"projects/{project}/completions/{name}"
        said = service.Submission(
            project=project,
            completion=name,
            rating=enum_name(request, "rating") or "NONE",
            correction=request.correction,
            comment=request.comment,
            slice=request.slice,
            submitter=request.submitter,
            request_id=request.request_id,
        )
        known = await find_completion(self.context.clients, name) if name else None
        async with self.db.transaction() as session:
            feedback = await service.submit(session, said, known, by=caller())
        return to_proto(feedback)

    async def GetFeedback(self, request: feedback_service_pb2.GetFeedbackRequest, _: Any) -> feedback_pb2.Feedback:
        async with self.db.transaction() as session:
            feedback = await resources.get(session, Feedback, request.name)
            return to_proto(feedback, await store.batches_of(session, [feedback]))

    async def ListFeedback(
        self, request: feedback_service_pb2.ListFeedbackRequest, _: Any
    ) -> feedback_service_pb2.ListFeedbackResponse:
        async with self.db.transaction() as session:
            found = await store.feedback_page(session, request)
            batches = await store.batches_of(session, found.rows)
        return feedback_service_pb2.ListFeedbackResponse(
            feedback=[to_proto(row, batches) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ClaimFeedback(self, request: feedback_service_pb2.ClaimFeedbackRequest, _: Any) -> feedback_pb2.Feedback:
        async with self.db.transaction() as session:
            feedback = await service.claim(session, request.name, by=caller(), etag=request.etag)
        return to_proto(feedback)

    async def ApproveFeedback(
        self, request: feedback_service_pb2.ApproveFeedbackRequest, _: Any
    ) -> feedback_pb2.Feedback:
        async with self.db.transaction() as session:
            feedback = await service.approve(
                session, request.name, by=caller(), edit=request.edit, slice=request.slice, etag=request.etag
            )
        return to_proto(feedback)

    async def RejectFeedback(
        self, request: feedback_service_pb2.RejectFeedbackRequest, _: Any
    ) -> feedback_pb2.Feedback:
        async with self.db.transaction() as session:
            feedback = await service.reject(
                session, request.name, by=caller(), reason=request.reason, etag=request.etag
            )
        return to_proto(feedback)

    async def ReopenFeedback(
        self, request: feedback_service_pb2.ReopenFeedbackRequest, _: Any
    ) -> feedback_pb2.Feedback:
        async with self.db.transaction() as session:
            feedback = await service.reopen(session, request.name, etag=request.etag)
        return to_proto(feedback)


class BatchApi(BatchServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateBatch(self, request: batch_service_pb2.CreateBatchRequest, _: Any) -> batch_pb2.Batch:
        async with self.db.transaction() as session:
            batch = await service.create_batch(
                session,
                project_of(request.parent),
                request.dataset_id,
                request.feedback,
                min_count=request.min_count,
                display_name=request.display_name,
                request_id=request.request_id,
            )
        self.context.wake()
        return await self._with_members(batch)

    async def GetBatch(self, request: batch_service_pb2.GetBatchRequest, _: Any) -> batch_pb2.Batch:
        async with self.db.transaction() as session:
            batch = await resources.get(session, Batch, request.name)
        return await self._with_members(batch)

    async def ListBatches(
        self, request: batch_service_pb2.ListBatchesRequest, _: Any
    ) -> batch_service_pb2.ListBatchesResponse:
        async with self.db.transaction() as session:
            found = await store.batch_page(session, request)
        return batch_service_pb2.ListBatchesResponse(
            batches=[render(row, batch_pb2.Batch) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _with_members(self, batch: Batch) -> batch_pb2.Batch:
        async with self.db.transaction() as session:
            members = [feedback.name for feedback in await store.of_batch(session, batch.name)]
        return render(batch, batch_pb2.Batch, feedback=members)


def to_proto(feedback: Feedback, batches: Mapping[str, Batch] = MappingProxyType({})) -> feedback_pb2.Feedback:
    """`batches`: by name; what was just said or decided is in none."""
    return render(feedback, feedback_pb2.Feedback, dataset_versions=forgetting.dataset_versions(feedback, batches))
