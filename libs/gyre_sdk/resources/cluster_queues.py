"""Cluster queues and cohorts: who may use how much, and who lends to whom; priorities that have a name. Read by all,
changed by operators."""

from __future__ import annotations

from typing import Any

from gyre.gpu_scheduler.v1.cluster_queue_pb2 import ClusterQueue, Cohort
from gyre.gpu_scheduler.v1.cluster_queue_service_pb2 import CreateClusterQueueRequest, CreateCohortRequest
from gyre.gpu_scheduler.v1.priority_class_pb2 import PriorityClass
from gyre.gpu_scheduler.v1.priority_class_service_pb2 import CreatePriorityClassRequest

from gyre_sdk.collection import Shared


class ClusterQueues(Shared[ClusterQueue]):
    kind, plural, collection = ClusterQueue, "cluster_queues", "clusterQueues"

    def create(self, cluster_queue_id: str, **fields: Any) -> ClusterQueue:
        """`fields`: cohort, weight, strategy, preemption, quotas, max_priority, projects."""
        queue = ClusterQueue(**{"weight": 1.0, **fields})
        request = CreateClusterQueueRequest(cluster_queue_id=cluster_queue_id, cluster_queue=queue)
        return self._post(ClusterQueue, self.collection, request)

    def update(self, name: str, **changes: Any) -> ClusterQueue:
        """`changes`: as the fields of `create`, in JSON; with `etag` refused if somebody else was quicker."""
        return self._patch(ClusterQueue, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        """Raises: GyreError CLUSTER_QUEUE_IN_USE while a queue of a project points to it."""
        self._delete(self.name(name), etag)


class Cohorts(Shared[Cohort]):
    kind, plural, collection = Cohort, "cohorts", "cohorts"

    def create(self, cohort_id: str, **fields: Any) -> Cohort:
        """`fields`: parent, weight, quotas."""
        request = CreateCohortRequest(cohort_id=cohort_id, cohort=Cohort(**{"weight": 1.0, **fields}))
        return self._post(Cohort, self.collection, request)

    def update(self, name: str, **changes: Any) -> Cohort:
        """`changes`: as the fields of `create`, in JSON; with `etag` refused if somebody else was quicker."""
        return self._patch(Cohort, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        """Raises: GyreError COHORT_IN_USE while something is in it."""
        self._delete(self.name(name), etag)


class PriorityClasses(Shared[PriorityClass]):
    kind, plural, collection = PriorityClass, "priority_classes", "priorityClasses"

    def create(self, priority_class_id: str, value: int, description: str = "") -> PriorityClass:
        given = PriorityClass(value=value, description=description)
        request = CreatePriorityClassRequest(priority_class_id=priority_class_id, priority_class=given)
        return self._post(PriorityClass, self.collection, request)

    def update(self, name: str, **changes: Any) -> PriorityClass:
        """`changes`: value, description; with `etag` refused if somebody else was quicker."""
        return self._patch(PriorityClass, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        """Work that was submitted with it keeps its priority."""
        self._delete(self.name(name), etag)
