"""The `ray` launcher: attempts on the nodes of a Ray cluster, bare metal or of KubeRay.

A service does not import ray: a helper process talks to the cluster (`ray_agent`), started when it is first needed.
What the cluster says of an attempt is kept in the attempt's folder here (`mirror`).
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from services.gpu_scheduler.cards import CardReading
from services.gpu_scheduler.hardware import CPU_FLAVOR, Machine
from services.gpu_scheduler.launchers import gang, mirror, remains
from services.gpu_scheduler.launchers.agent import Agent
from services.gpu_scheduler.launchers.base import Ended, Endpoint, Handle, Order, Ref, RemoteNode
from services.gpu_scheduler.launchers.gang import MemberEnd
from services.gpu_scheduler.launchers.local import RENEW_SECONDS

log = logging.getLogger(__name__)
AGENT = "services.gpu_scheduler.launchers.ray_agent"
START_SECONDS = 55.0  # within the lease of a launch
SECONDS = 15.0
RENEWED = "renewed"
NODE_LABEL, SIMULATED_LABEL, ACCELERATOR_LABEL = "gyre.dev/node", "gyre.dev/simulated", "ray.io/accelerator-type"
MEMORY_LABEL = "gyre.dev/card-memory-bytes"
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Ray:
    """`address`: of the cluster's head, host:port. `work_folder`: on each of its nodes. `runtime_env`: as Ray's, JSON."""

    look_again = 1.0

    def __init__(self, address: str, work_folder: str, runtime_env: str = "{}") -> None:
        self.agent = Agent([sys.executable, "-m", AGENT, address, work_folder, runtime_env])

    def start(self, order: Order) -> Handle:
        """Raises: LaunchFailed; Unreachable."""
        mirror.prepare(order.ref)
        given = {name: getattr(order, name) for name in ("module", "token")}
        given |= {"spec": dict(order.spec), "environment": dict(order.environment)}
        handle: Handle = self.agent.ask("start", START_SECONDS, ref=_named(order.ref), order=given)
        self._mark_renewed(order.ref)
        return handle

    def look(self, ref: Ref) -> Ended | None:
        """Brings the logs home, too. A gang of which one failed, or lost its node, is ended as a whole."""
        ended = mirror.end_of(ref) or self._looked(ref)
        if ended is not None:
            self._ask("forget", ref)
        return ended

    def stop(self, ref: Ref, *, ask: bool, kill: bool) -> Ended | None:
        if not self.agent.ask("stop", SECONDS, ref=_named(ref), ask=ask, kill=kill):
            return None
        if not ref.handle and not (ref.folder / RENEWED).exists():
            self._ask("forget", ref)  # nobody heard that it was started, if it was; the fence keeps it from being
            return Ended()
        return self.look(ref)

    def kill(self, ref: Ref) -> None:
        self._ask("stop", ref, ask=False, kill=True)

    def sample(self, ref: Ref) -> tuple[float, int]:
        seconds, resident = self._ask("sample", ref)
        return float(seconds), int(resident)

    def renew(self, ref: Ref, sign: Callable[[], str]) -> None:
        path = ref.folder / RENEWED
        if not path.exists() or time.time() - path.stat().st_mtime >= RENEW_SECONDS:
            self._ask("renew", ref, token=sign())
            self._mark_renewed(ref)

    def reserve(self, ref: Ref) -> int:
        return int(self.agent.ask("reserve", START_SECONDS, ref=_named(ref)))

    def endpoint(self, ref: Ref, port: int) -> Endpoint:
        host = ref.members[0].host
        return Endpoint("0.0.0.0", host, f"{host}:{port}")

    def nodes(self) -> Sequence[RemoteNode]:
        """Of those that call themselves alike, the first has the name; the others go by their id. A head that gives
        nothing away is none.
        """
        found: dict[str, RemoteNode] = {}
        for told in sorted(self.agent.ask("nodes", SECONDS, probe=True), key=lambda node: node["id"]):
            node = remote_node(told)
            if not node.machine.cpu_milli:
                continue
            if node.machine.id in found:
                log.warning("two nodes of the Ray cluster have one name", extra={"node": node.machine.id})
                node = remote_node(told | {"labels": told["labels"] | {NODE_LABEL: ""}})
            found[node.machine.id] = node
        return list(found.values())

    def close(self) -> None:
        self.agent.close()

    def _ask(self, do: str, ref: Ref, **given: Any) -> Any:
        return self.agent.ask(do, SECONDS, ref=_named(ref), **given)

    def _looked(self, ref: Ref) -> Ended | None:
        """None while a member runs; the end is written down."""
        mirror.prepare(ref)
        said = self._told(ref)
        lost = said["lost"] + [ref.members[int(rank)].place for rank, one in said["members"].items() if one["lost"]]
        ends = _ends(ref, said["members"])
        running = len(ref.members) - len(ends) - len(said["lost"])
        if running and gang.is_doomed(ends, lost):
            self.kill(ref)
        if running:
            return None
        return mirror.end(ref, gang.together(ends, _lost_node(ref, lost)))

    def _told(self, ref: Ref) -> dict[str, Any]:
        """What the cluster says of each member, once all that was in their logs by then is here."""
        while True:
            said: dict[str, Any] = self._ask("look", ref, offsets=mirror.offsets(ref))
            grew = [mirror.write(ref, int(rank), one["logs"], one["result"]) for rank, one in said["members"].items()]
            if not any(grew) or not any(one["ended"] for one in said["members"].values()):
                return said

    def _mark_renewed(self, ref: Ref) -> None:
        (ref.folder / RENEWED).touch()


def remote_node(told: Mapping[str, Any]) -> RemoteNode:
    """A node as Ray tells of it, as one of ours. Cards are counted, not told apart: which of them is Ray's choice."""
    labels, resources = told["labels"], told["resources"]
    given = labels.get(NODE_LABEL, "")
    name = given if SLUG.fullmatch(given) else f"ray-{told['id'][:12]}"
    simulated = labels.get(SIMULATED_LABEL) == "true"
    model = _accelerator(labels, resources)
    cards = [
        CardReading(
            index, f"RAY-{told['id'][:12]}-{index}", model, int(labels.get(MEMORY_LABEL, 0)), simulated=simulated
        )
        for index in range(int(resources.get("GPU", 0)))
    ]
    machine = Machine(
        id=name,
        hostname=told["hostname"],
        flavor=re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:63] if cards else CPU_FLAVOR,
        cpu_milli=int(resources.get("CPU", 0) * 1000),
        memory_bytes=int(resources.get("memory", 0)),
        cpu_percent=0.0,
        memory_used_bytes=0,
        cards=cards,
    )
    return RemoteNode(machine, told["id"], told["host"], labels)


def _accelerator(labels: Mapping[str, str], resources: Mapping[str, float]) -> str:
    """Ray tells the kind of a node's cards by a label, and by a resource `accelerator_type:KIND`."""
    by_resource = next((name for name in resources if name.startswith("accelerator_type:")), ":gpu")
    return labels.get(ACCELERATOR_LABEL) or by_resource.partition(":")[2]


def _ends(ref: Ref, members: Mapping[str, Any]) -> dict[int, MemberEnd]:
    """Of those that ended, with the last that each said."""
    ends = {}
    for rank, one in members.items():
        if one["ended"] is not None:
            words = remains.last_words(mirror.folder_of(ref, int(rank)))
            ends[int(rank)] = MemberEnd(replace(Ended(**one["ended"]), last_words=words), one["end_time"])
    return ends


def _lost_node(ref: Ref, lost: Sequence[str]) -> str:
    return next((member.node for member in ref.members if member.place in lost), "")


def _named(ref: Ref) -> dict[str, Any]:
    members = [asdict(member) for member in ref.members]
    return {"workload": ref.workload, "attempt": ref.attempt, "members": members}
