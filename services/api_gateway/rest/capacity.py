"""Queues, workloads, nodes, cards and flavors, and what of them was used.

An address without a project is about every project that the caller may see.
"""

from __future__ import annotations

from gyre.gpu_scheduler.v1.accounting_service_pb2_grpc import AccountingServiceStub
from gyre.gpu_scheduler.v1.cluster_queue_service_pb2_grpc import ClusterQueueServiceStub
from gyre.gpu_scheduler.v1.cost_service_pb2_grpc import CostServiceStub
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.priority_class_service_pb2_grpc import PriorityClassServiceStub
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.simulation_service_pb2_grpc import SimulationServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
QUEUE = {"name": "projects/{project}/queues/{queue}"}
NODE = {"name": "nodes/{node}"}
FLAVOR = {"name": "flavors/{flavor}"}
WORKLOAD = {"name": "projects/{project}/workloads/{workload}"}
CLUSTER_QUEUE = {"name": "clusterQueues/{cluster_queue}"}
COHORT = {"name": "cohorts/{cohort}"}
PRIORITY_CLASS = {"name": "priorityClasses/{priority_class}"}
WHAT_IF_SECONDS = 600.0  # the scheduler has its own, shorter bound
EVERYWHERE = "_everywhere"
USAGE = {"name": "projects/{project}/capacityUsage"}
QUEUES, WORKLOADS = "/projects/{project}/queues", "/projects/{project}/workloads"
CLUSTER_QUEUES, ONE_COHORT = "/cluster-queues", "/cohorts/{cohort}"
PRIORITY_CLASSES, ONE_CLASS = "/priority-classes", "/priority-classes/{priority_class}"

ROUTES = [
    Route("GET", "/nodes", NodeServiceStub, "ListNodes"),
    Route("POST", "/nodes:whatIf", SimulationServiceStub, "WhatIf", timeout=WHAT_IF_SECONDS),
    Route("GET", "/nodes/{node}", NodeServiceStub, "GetNode", NODE),
    Route("PATCH", "/nodes/{node}", NodeServiceStub, "UpdateNode", NODE, resource="node"),
    Route("POST", "/nodes/{node}:cordon", NodeServiceStub, "CordonNode", NODE),
    Route("POST", "/nodes/{node}:uncordon", NodeServiceStub, "UncordonNode", NODE),
    Route("POST", "/nodes/{node}:drain", NodeServiceStub, "DrainNode", NODE),
    Route("POST", "/nodes/{node}:forget", NodeServiceStub, "ForgetNode", NODE),
    Route("POST", "/nodes/{node}:resetCard", NodeServiceStub, "ResetCard", NODE, required=("index",)),
    Route("GET", "/flavors", NodeServiceStub, "ListFlavors"),
    Route("PATCH", "/flavors/{flavor}", NodeServiceStub, "UpdateFlavor", FLAVOR, resource="flavor"),
    Route("GET", "/card-models", NodeServiceStub, "ListCardModels"),
    Route("GET", "/projects/{project}/costs", CostServiceStub, "GetCosts", {"name": "projects/{project}/costs"}),
    Route("GET", "/projects/{project}/capacity-usage", AccountingServiceStub, "GetUsage", USAGE),
    Route("GET", "/capacity-usage", AccountingServiceStub, "GetUsage", suffix=EVERYWHERE),
    Route("GET", "/projects/{project}/attempts", AccountingServiceStub, "ListAttempts", IN_PROJECT),
    Route("GET", "/attempts", AccountingServiceStub, "ListAttempts", suffix=EVERYWHERE),
    Route("GET", "/projects/{project}/queue-statistics", AccountingServiceStub, "ListQueueStatistics", IN_PROJECT),
    Route("GET", "/queue-statistics", AccountingServiceStub, "ListQueueStatistics", suffix=EVERYWHERE),
    Route("GET", "/utilisation", AccountingServiceStub, "GetClusterUtilisation"),
    Route("GET", "/efficiency", AccountingServiceStub, "GetEfficiency"),
    Route("GET", QUEUES, QueueServiceStub, "ListQueues", IN_PROJECT),
    Route("POST", QUEUES, QueueServiceStub, "CreateQueue", IN_PROJECT, required=("queue_id",)),
    Route("GET", f"{QUEUES}/{{queue}}", QueueServiceStub, "GetQueue", QUEUE),
    Route("PATCH", f"{QUEUES}/{{queue}}", QueueServiceStub, "UpdateQueue", QUEUE, resource="queue"),
    Route("DELETE", f"{QUEUES}/{{queue}}", QueueServiceStub, "DeleteQueue", QUEUE),
    Route("GET", CLUSTER_QUEUES, ClusterQueueServiceStub, "ListClusterQueues"),
    Route("POST", CLUSTER_QUEUES, ClusterQueueServiceStub, "CreateClusterQueue", required=("cluster_queue_id",)),
    Route("GET", f"{CLUSTER_QUEUES}/{{cluster_queue}}", ClusterQueueServiceStub, "GetClusterQueue", CLUSTER_QUEUE),
    Route(
        "PATCH", f"{CLUSTER_QUEUES}/{{cluster_queue}}", ClusterQueueServiceStub, "UpdateClusterQueue", CLUSTER_QUEUE,
        resource="cluster_queue",
    ),
    Route("DELETE", f"{CLUSTER_QUEUES}/{{cluster_queue}}", ClusterQueueServiceStub, "DeleteClusterQueue", CLUSTER_QUEUE),
    Route("GET", "/cohorts", ClusterQueueServiceStub, "ListCohorts"),
    Route("POST", "/cohorts", ClusterQueueServiceStub, "CreateCohort", required=("cohort_id",)),
    Route("GET", ONE_COHORT, ClusterQueueServiceStub, "GetCohort", COHORT),
    Route("PATCH", ONE_COHORT, ClusterQueueServiceStub, "UpdateCohort", COHORT, resource="cohort"),
    Route("DELETE", ONE_COHORT, ClusterQueueServiceStub, "DeleteCohort", COHORT),
    Route("GET", PRIORITY_CLASSES, PriorityClassServiceStub, "ListPriorityClasses"),
    Route("POST", PRIORITY_CLASSES, PriorityClassServiceStub, "CreatePriorityClass", required=("priority_class_id",)),
    Route("GET", ONE_CLASS, PriorityClassServiceStub, "GetPriorityClass", PRIORITY_CLASS),
    Route(
        "PATCH", ONE_CLASS, PriorityClassServiceStub, "UpdatePriorityClass", PRIORITY_CLASS, resource="priority_class"
    ),
    Route("DELETE", ONE_CLASS, PriorityClassServiceStub, "DeletePriorityClass", PRIORITY_CLASS),
    Route("GET", WORKLOADS, WorkloadServiceStub, "ListWorkloads", IN_PROJECT),
    Route("GET", f"{WORKLOADS}/{{workload}}", WorkloadServiceStub, "GetWorkload", WORKLOAD),
    Route("POST", f"{WORKLOADS}/{{workload}}:cancel", WorkloadServiceStub, "CancelWorkload", WORKLOAD),
    Route("POST", f"{WORKLOADS}/{{workload}}:hold", WorkloadServiceStub, "HoldWorkload", WORKLOAD),
    Route("POST", f"{WORKLOADS}/{{workload}}:release", WorkloadServiceStub, "ReleaseWorkload", WORKLOAD),
]  # fmt: skip
