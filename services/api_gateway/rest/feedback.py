"""Feedback, review and batches."""

from __future__ import annotations

from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
FEEDBACK = {"name": "projects/{project}/feedback/{feedback}"}
BATCH = {"name": "projects/{project}/batches/{batch}"}
LIST, ONE = "/projects/{project}/feedback", "/projects/{project}/feedback/{feedback}"
BATCHES = "/projects/{project}/feedback-batches"

ROUTES = [
    Route("GET", LIST, FeedbackServiceStub, "ListFeedback", IN_PROJECT),
    Route("POST", LIST, FeedbackServiceStub, "SubmitFeedback", IN_PROJECT, required=("completion",)),
    Route("GET", ONE, FeedbackServiceStub, "GetFeedback", FEEDBACK),
    Route("POST", f"{ONE}:claim", FeedbackServiceStub, "ClaimFeedback", FEEDBACK),
    Route("POST", f"{ONE}:approve", FeedbackServiceStub, "ApproveFeedback", FEEDBACK),
    Route("POST", f"{ONE}:reject", FeedbackServiceStub, "RejectFeedback", FEEDBACK),
    Route("POST", f"{ONE}:reopen", FeedbackServiceStub, "ReopenFeedback", FEEDBACK),
    Route("GET", BATCHES, BatchServiceStub, "ListBatches", IN_PROJECT),
    Route("POST", BATCHES, BatchServiceStub, "CreateBatch", IN_PROJECT, required=("dataset_id",)),
    Route("GET", f"{BATCHES}/{{batch}}", BatchServiceStub, "GetBatch", BATCH),
]
