"""Queues, workloads, nodes and cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gyre.gpu_scheduler.v1.node_pb2 import CardModel, Flavor, Node
from gyre.gpu_scheduler.v1.node_service_pb2 import ResetCardRequest
from gyre.gpu_scheduler.v1.queue_pb2 import Queue
from gyre.gpu_scheduler.v1.queue_service_pb2 import CreateQueueRequest
from gyre.gpu_scheduler.v1.simulation_pb2 import AddedNodes, WhatIfReport
from gyre.gpu_scheduler.v1.simulation_service_pb2 import WhatIfRequest
from gyre.gpu_scheduler.v1.workload_pb2 import Workload

from gyre_sdk import messages, names
from gyre_sdk.collection import Collection, Shared, request_id

WHAT_IF_SECONDS = 600.0  # the scheduler has its own, shorter bound


class Queues(Collection[Queue]):
    kind, plural = Queue, "queues"

    def create(self, queue_id: str, **fields: Any) -> Queue:
        """`fields`: display_name, cluster_queue, priority."""
        request = CreateQueueRequest(queue_id=queue_id, request_id=request_id(), **fields)
        return self._post(Queue, f"{self.parent}/queues", request)

    def update(self, name: str, **changes: Any) -> Queue:
        """`changes`: display_name, priority, state (STATE_ACTIVE or STATE_HELD), budget_microusd, budget_period."""
        return self._patch(Queue, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        """Raises: GyreError QUEUE_NOT_EMPTY while work of it waits or holds something; DEFAULT_QUEUE_STAYS."""
        self._delete(self.name(name), etag)


class Workloads(Collection[Workload]):
    kind, plural, ends = Workload, "workloads", ("FINISHED",)

    def find(self, reference: str) -> Workload:
        """With why it waits, which a list does not say."""
        is_number = reference.removeprefix("#").isdigit()
        return self.get(super().find(reference).name if is_number else reference)

    def cancel(self, name: str) -> Workload:
        return self._post(Workload, self.name(name), verb="cancel")

    def hold(self, name: str) -> Workload:
        """Takes it out of its queue; one that runs is asked to stop, and waits held."""
        return self._post(Workload, self.name(name), verb="hold")

    def release(self, name: str) -> Workload:
        """Has a held one considered again."""
        return self._post(Workload, self.name(name), verb="release")

    def logs(self, name: str, stream: str = "stderr", tail_lines: int = 0, follow: bool = False) -> Iterator[str]:
        query = {"stream": stream, "tail_lines": tail_lines, "follow": follow}
        return self._transport.text(names.path(self.name(name)) + "/logs", query)


class Nodes(Shared[Node]):
    kind, plural, collection = Node, "nodes", "nodes"

    def what_if(
        self, additions: Sequence[AddedNodes] = (), days: int = 0, policy: str = "", removals: Sequence[str] = ()
    ) -> WhatIfReport:
        """What more nodes, or fewer, would have changed in the last days. For administrators; takes up to a minute.

        `removals`: names of nodes to do without, short or full.
        """
        gone = [self.name(name) for name in removals]
        body = messages.to_body(WhatIfRequest(additions=additions, days=days, policy=policy, removals=gone))
        found = self._transport.call("POST", "/nodes:whatIf", body=body, timeout=WHAT_IF_SECONDS)
        return messages.parse(WhatIfReport, found)

    def label(self, name: str, labels: Mapping[str, str | None]) -> Node:
        """Sets labels and, where the value is None, takes them away; the others stay. Raises: GyreError ETAG_MISMATCH."""
        node = self.get(name)
        merged = {key: value for key, value in {**node.labels, **labels}.items() if value is not None}
        return self._patch(Node, node.name, {"labels": merged, "etag": node.etag})

    def cordon(self, name: str) -> Node:
        """It takes no new work; what works on it goes on."""
        return self._post(Node, self.name(name), verb="cordon")

    def uncordon(self, name: str) -> Node:
        """It takes work again, also after a drain."""
        return self._post(Node, self.name(name), verb="uncordon")

    def drain(self, name: str) -> Node:
        """It takes no new work, and what works on it is asked to stop; drained when `workload_count` is 0."""
        return self._post(Node, self.name(name), verb="drain")

    def forget(self, name: str) -> None:
        """Ends what is left on a node that is not heard of, and deletes the node."""
        self._transport.call("POST", names.path(self.name(name)) + ":forget", body={})

    def reset_card(self, name: str, index: int) -> Node:
        """Puts a sick card back."""
        return self._post(Node, self.name(name), ResetCardRequest(index=index), verb="resetCard")

    def update_flavor(self, name: str, **changes: Any) -> Flavor:
        """`changes`: display_name, cpu_hour_microusd, gpu_hour_microusd."""
        full = name if name.startswith("flavors/") else f"flavors/{name}"
        return self._patch(Flavor, full, changes)

    def card_models(self) -> Iterator[CardModel]:
        """The table of cards, with how many of each are here."""
        return self._all(CardModel, "cardModels", "card_models")

    def flavors(self) -> Iterator[Flavor]:
        return self._all(Flavor, "flavors", "flavors")
