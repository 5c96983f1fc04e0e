"""Data sets and their versions."""

from __future__ import annotations

from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
DATASET = {"name": "projects/{project}/datasets/{dataset}"}
IN_DATASET = {"parent": DATASET["name"]}
VERSION = {"name": "projects/{project}/datasets/{dataset}/versions/{version}"}
IN_VERSION = {"parent": VERSION["name"]}
LIST = "/projects/{project}/datasets"
ONE = "/projects/{project}/datasets/{dataset}"
ONE_VERSION = "/projects/{project}/datasets/{dataset}/versions/{version}"

ROUTES = [
    Route("GET", LIST, DatasetServiceStub, "ListDatasets", IN_PROJECT),
    Route("POST", LIST, DatasetServiceStub, "CreateDataset", IN_PROJECT, required=("dataset_id",)),
    Route("GET", ONE, DatasetServiceStub, "GetDataset", DATASET),
    Route("PATCH", ONE, DatasetServiceStub, "UpdateDataset", DATASET, resource="dataset"),
    Route("DELETE", ONE, DatasetServiceStub, "DeleteDataset", DATASET),
    Route("GET", f"{ONE}/versions", VersionServiceStub, "ListVersions", IN_DATASET),
    Route("POST", f"{ONE}/versions", VersionServiceStub, "CreateVersion", IN_DATASET),
    Route("GET", ONE_VERSION, VersionServiceStub, "GetVersion", VERSION),
    Route("DELETE", ONE_VERSION, VersionServiceStub, "DeleteVersion", VERSION),
    Route("GET", f"{ONE_VERSION}/rows", VersionServiceStub, "ListRows", IN_VERSION),
    Route("GET", f"{ONE_VERSION}/rejects", VersionServiceStub, "ListRejects", IN_VERSION),
]
