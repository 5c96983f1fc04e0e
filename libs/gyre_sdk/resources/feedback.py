"""Feedback and its batches."""

from __future__ import annotations

from collections.abc import Iterable

from gyre.feedback.v1.batch_pb2 import Batch
from gyre.feedback.v1.batch_service_pb2 import CreateBatchRequest
from gyre.feedback.v1.feedback_pb2 import Feedback
from gyre.feedback.v1.feedback_service_pb2 import (
    ApproveFeedbackRequest,
    RejectFeedbackRequest,
    ReopenFeedbackRequest,
    SubmitFeedbackRequest,
)

from gyre_sdk import messages
from gyre_sdk.collection import Collection, request_id


class FeedbackItems(Collection[Feedback]):
    kind, plural = Feedback, "feedback"

    def submit(
        self,
        completion: str,
        rating: str = "NONE",
        *,
        correction: str = "",
        comment: str = "",
        slice: str = "",
        submitter: str = "",
    ) -> Feedback:
        """About an answer, by the `id` of its completion. `rating`: THUMBS_UP, THUMBS_DOWN or NONE."""
        request = SubmitFeedbackRequest(
            completion=completion,
            rating=messages.enum_value(SubmitFeedbackRequest, "rating", rating),
            correction=correction,
            comment=comment,
            slice=slice,
            submitter=submitter,
            request_id=request_id(),
        )
        return self._post(Feedback, f"{self.parent}/feedback", request)

    def claim(self, name: str) -> Feedback:
        """Takes it into review; the same reviewer may claim twice."""
        return self._post(Feedback, self.name(name), verb="claim")

    def approve(self, name: str, edit: str = "", slice: str = "") -> Feedback:
        """Approves what was claimed, with `edit` in place of the correction if one is given."""
        request = ApproveFeedbackRequest(edit=edit, slice=slice)
        return self._post(Feedback, self.name(name), request, "approve")

    def reject(self, name: str, reason: str = "") -> Feedback:
        return self._post(Feedback, self.name(name), RejectFeedbackRequest(reason=reason), "reject")

    def reopen(self, name: str) -> Feedback:
        """Undoes a claim or a decision."""
        return self._post(Feedback, self.name(name), ReopenFeedbackRequest(), "reopen")


class Batches(Collection[Batch]):
    kind, plural, ends = Batch, "batches", ("READY",)

    def create(self, dataset_id: str, feedback: Iterable[str] = (), display_name: str = "") -> Batch:
        """Approved feedback, all that is free or the named pieces, as versions of `X` and `X-preferences`."""
        request = CreateBatchRequest(
            dataset_id=dataset_id, feedback=list(feedback), display_name=display_name, request_id=request_id()
        )
        return self._post(Batch, f"{self.parent}/batches", request)
