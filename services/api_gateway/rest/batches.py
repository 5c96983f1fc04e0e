"""Batches: a deployment asked about a whole data set version."""

from __future__ import annotations

from gyre.inference_gateway.v1.inference_batch_service_pb2_grpc import InferenceBatchServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
BATCH = {"name": "projects/{project}/inferenceBatches/{batch}"}
LIST, ONE = "/projects/{project}/inference-batches", "/projects/{project}/inference-batches/{batch}"
REQUIRED = ("source_version", "model")

ROUTES = [
    Route("GET", LIST, InferenceBatchServiceStub, "ListInferenceBatches", IN_PROJECT),
    Route("POST", LIST, InferenceBatchServiceStub, "CreateInferenceBatch", IN_PROJECT, required=REQUIRED),
    Route("GET", ONE, InferenceBatchServiceStub, "GetInferenceBatch", BATCH),
    Route("POST", f"{ONE}:cancel", InferenceBatchServiceStub, "CancelInferenceBatch", BATCH),
]
