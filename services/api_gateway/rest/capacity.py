"""Queues, workloads, nodes and flavors, and what of them was used.

An address without a project is about every project that the caller may see.
"""

from __future__ import annotations

from gyre.gpu_scheduler.v1.accounting_service_pb2_grpc import AccountingServiceStub
from gyre.gpu_scheduler.v1.cost_service_pb2_grpc import CostServiceStub
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
QUEUE = {"name": "projects/{project}/queues/{queue}"}
WORKLOAD = {"name": "projects/{project}/workloads/{workload}"}
EVERYWHERE = "_everywhere"
USAGE = {"name": "projects/{project}/capacityUsage"}
QUEUES, WORKLOADS = "/projects/{project}/queues", "/projects/{project}/workloads"

ROUTES = [
    Route("GET", "/nodes", NodeServiceStub, "ListNodes"),
    Route("GET", "/nodes/{node}", NodeServiceStub, "GetNode", {"name": "nodes/{node}"}),
    Route("GET", "/flavors", NodeServiceStub, "ListFlavors"),
    Route("GET", "/projects/{project}/costs", CostServiceStub, "GetCosts", {"name": "projects/{project}/costs"}),
    Route("GET", "/projects/{project}/capacity-usage", AccountingServiceStub, "GetUsage", USAGE),
    Route("GET", "/capacity-usage", AccountingServiceStub, "GetUsage", suffix=EVERYWHERE),
    Route("GET", "/projects/{project}/attempts", AccountingServiceStub, "ListAttempts", IN_PROJECT),
    Route("GET", "/attempts", AccountingServiceStub, "ListAttempts", suffix=EVERYWHERE),
    Route("GET", "/projects/{project}/queue-statistics", AccountingServiceStub, "ListQueueStatistics", IN_PROJECT),
    Route("GET", "/queue-statistics", AccountingServiceStub, "ListQueueStatistics", suffix=EVERYWHERE),
    Route("GET", "/utilisation", AccountingServiceStub, "GetClusterUtilisation"),
    Route("GET", QUEUES, QueueServiceStub, "ListQueues", IN_PROJECT),
    Route("POST", QUEUES, QueueServiceStub, "CreateQueue", IN_PROJECT, required=("queue_id",)),
    Route("GET", f"{QUEUES}/{{queue}}", QueueServiceStub, "GetQueue", QUEUE),
    Route("PATCH", f"{QUEUES}/{{queue}}", QueueServiceStub, "UpdateQueue", QUEUE, resource="queue"),
    Route("GET", WORKLOADS, WorkloadServiceStub, "ListWorkloads", IN_PROJECT),
    Route("GET", f"{WORKLOADS}/{{workload}}", WorkloadServiceStub, "GetWorkload", WORKLOAD),
    Route("POST", f"{WORKLOADS}/{{workload}}:cancel", WorkloadServiceStub, "CancelWorkload", WORKLOAD),
]
