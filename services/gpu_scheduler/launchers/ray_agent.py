"""The process that talks to Ray for the scheduler (`agent.Agent` has the protocol): `python -m … ADDRESS WORK_FOLDER RUNTIME_ENV`.

An attempt is a detached placement group `<workload>-<attempt>` with a bundle for each member, pinned to the node that
the scheduler chose, and in each bundle a detached actor `<workload>-<attempt>-<rank>`, all in the namespace `gyre`. So
they are found again by whoever asks, after the end of this process and of the scheduler's. The highest attempt of a
workload that must not run any more is a key of Ray's own store, its fence.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError
from ray.experimental import internal_kv
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from services.gpu_scheduler.launchers.base import LaunchFailed, Unreachable
from services.gpu_scheduler.launchers.environment import of_rank
from services.gpu_scheduler.launchers.ray_member import MemberActor

log = logging.getLogger(__name__)
NAMESPACE = "gyre"
THREADS = 16
ROOM_SECONDS = 25.0  # for Ray to find the room that the scheduler saw
CALL_SECONDS = 10.0
NODE_ID = "ray.io/node-id"


class Cluster:
    """What the scheduler can ask. `ref`: {workload, attempt, members: [{place, host, cpu_milli, memory_bytes, gpu}]}."""

    def __init__(self, work_folder: str, runtime_env: Mapping[str, Any]) -> None:
        self._work_folder = work_folder
        self._runtime_env = dict(runtime_env)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def nodes(self) -> list[dict[str, Any]]:
        """Those that are alive."""
        return [
            {
                "id": node["NodeID"],
                "host": node["NodeManagerAddress"],
                "hostname": node["NodeManagerHostname"],
                "resources": node["Resources"],
                "labels": node.get("Labels") or {},
            }
            for node in ray.nodes()
            if node["Alive"]
        ]

    def start(self, ref: Mapping[str, Any], order: Mapping[str, Any]) -> dict[str, str]:
        """Once an attempt, however often it is asked. Raises: LaunchFailed."""
        with self._locks[ref["workload"]]:
            self._check_fence(ref)
            self._end_lower(ref)
            actors = self._ensure(ref)
            self._check_fence(ref)  # a stop that came meanwhile has either seen the actors, or is seen now
            orders = self._orders(ref, actors, order)
            refusals = _get([actor.begin.remote(one) for actor, one in zip(actors, orders, strict=True)])
            if any(refusals):
                _get([actor.stop.remote(False, True) for actor in actors])
                _end(_name(ref), actors)
                raise LaunchFailed(next(filter(None, refusals)))
        return {"group": _name(ref)}

    def reserve(self, ref: Mapping[str, Any]) -> int:
        """A free port on the node of rank 0. Raises: LaunchFailed."""
        with self._locks[ref["workload"]]:
            self._check_fence(ref)
            port: int = _get([self._ensure(ref)[0].port.remote()])[0]
            return port

    def look(self, ref: Mapping[str, Any], offsets: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """`lost`: places of members whose node is gone. `members`: what the others say, by rank."""
        with self._locks[ref["workload"]]:
            lost, alive = self._split(ref)
            said = self._call(ref, alive, lambda actor, rank: actor.look.remote(offsets[rank]))
        return {"lost": lost, "members": {str(rank): one for rank, one in said.items()}}

    def stop(self, ref: Mapping[str, Any], ask: bool, kill: bool) -> bool:
        """True when nothing of it is left on any node, and nothing of it will ever begin."""
        with self._locks[ref["workload"]]:
            _raise_fence(ref["workload"], ref["attempt"])
            if not self._exists(ref):
                return True
            _, alive = self._split(ref)
            return all(self._call(ref, alive, lambda actor, _: actor.stop.remote(ask, kill)).values())

    def forget(self, ref: Mapping[str, Any]) -> None:
        """Gives back to Ray what an attempt held that is over."""
        with self._locks[ref["workload"]]:
            _end(_name(ref), [_actor(_name(ref), rank) for rank in range(len(ref["members"]))])

    def sample(self, ref: Mapping[str, Any]) -> tuple[float, int]:
        with self._locks[ref["workload"]]:
            _, alive = self._split(ref)
            said = self._call(ref, alive, lambda actor, _: actor.sample.remote()).values()
        return sum(cpu for cpu, _ in said), sum(resident for _, resident in said)

    def renew(self, ref: Mapping[str, Any], token: str) -> None:
        with self._locks[ref["workload"]]:
            _, alive = self._split(ref)
            self._call(ref, alive, lambda actor, _: actor.renew.remote(token))

    def _split(self, ref: Mapping[str, Any]) -> tuple[list[str], list[int]]:
        """Places that are gone, and the ranks of members whose node is there."""
        there = {node["id"] for node in self.nodes()}
        places = [member["place"] for member in ref["members"]]
        return [place for place in places if place not in there], [
            rank for rank, place in enumerate(places) if place in there
        ]

    def _call(self, ref: Mapping[str, Any], ranks: Sequence[int], ask: Callable[[Any, int], Any]) -> dict[int, Any]:
        """What each rank's actor answers; one that died is made again first. Raises: Unreachable."""
        answers: dict[int, Any] = {}
        for rank in ranks:  # all are asked before the first answer is waited for
            answers[rank] = ask(_actor(_name(ref), rank) or self._again(ref, rank), rank)
        for rank, answer in answers.items():
            try:
                answers[rank] = _get([answer])[0]
            except ActorUnavailableError as error:
                raise Unreachable(f"the actor of rank {rank} does not answer: {error}") from error
            except RayActorError:
                answers[rank] = _get([ask(self._again(ref, rank), rank)])[0]
        return answers

    def _again(self, ref: Mapping[str, Any], rank: int) -> Any:
        """The actor made anew, in the room that is still its own, or in the same room once more. Raises: Unreachable."""
        if group := _group(_name(ref)):
            return self._ensure_actor(ref, group, rank)
        try:
            return self._ensure(ref)[rank]
        except LaunchFailed as failure:
            raise Unreachable(str(failure)) from failure

    def _exists(self, ref: Mapping[str, Any]) -> bool:
        return _group(_name(ref)) is not None

    def _ensure(self, ref: Mapping[str, Any]) -> list[Any]:
        """The actors of the attempt, those that are missing made. Raises: LaunchFailed, if Ray has no room for them."""
        group = _group(_name(ref)) or _make_group(ref)
        if not group.wait(ROOM_SECONDS):
            ray.util.remove_placement_group(group)
            raise LaunchFailed(f"Ray found no room within {ROOM_SECONDS:.0f} s for {_wanted(ref)}")
        return [self._ensure_actor(ref, group, rank) for rank in range(len(ref["members"]))]

    def _ensure_actor(self, ref: Mapping[str, Any], group: PlacementGroup, rank: int) -> Any:
        member = ref["members"][rank]
        options: dict[str, Any] = {
            "name": f"{_name(ref)}-{rank}",
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "get_if_exists": True,
            "num_cpus": member["cpu_milli"] / 1000,
            "num_gpus": member["gpu"],
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        }
        if self._runtime_env:
            options["runtime_env"] = self._runtime_env
        made = ray.remote(MemberActor).options(**options)
        return made.remote(self._work_folder, ref["workload"], ref["attempt"], rank, member["gpu"])

    def _orders(self, ref: Mapping[str, Any], actors: Sequence[Any], order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The order of each rank: all alike, but for what torchrun's variables tell."""
        size, master = len(actors), ref["members"][0]["host"]
        port = _get([actors[0].port.remote()])[0] if size > 1 else 0
        return [
            {**order, "environment": {**order["environment"], **of_rank(rank, size, master, port)}}
            for rank in range(size)
        ]

    def _check_fence(self, ref: Mapping[str, Any]) -> None:
        if _fence(ref["workload"]) >= ref["attempt"]:
            raise LaunchFailed("it was stopped, or a higher attempt was started, before it began")

    def _end_lower(self, ref: Mapping[str, Any]) -> None:
        """No lower attempt runs, or will, when this returns; one that lost its actor neither. Raises: LaunchFailed."""
        workload, attempt = ref["workload"], ref["attempt"]
        _raise_fence(workload, attempt - 1)
        for lower in _groups_of(workload):
            if lower["attempt"] < attempt:
                _, alive = self._split(lower)
                if not all(self._call(lower, alive, lambda actor, _: actor.stop.remote(False, True)).values()):
                    raise LaunchFailed(f"attempt {_name(lower)} still runs and could not be killed")
                _end(_name(lower), [_actor(_name(lower), rank) for rank in alive])


def _get(answers: Sequence[Any]) -> list[Any]:
    try:
        found: list[Any] = ray.get(list(answers), timeout=CALL_SECONDS)
        return found
    except GetTimeoutError as error:
        raise Unreachable(f"an actor did not answer within {CALL_SECONDS:.0f} s") from error


def _make_group(ref: Mapping[str, Any]) -> PlacementGroup:
    members = ref["members"]
    return ray.util.placement_group(
        [_bundle(member) for member in members],
        strategy=_strategy([member["place"] for member in members]),
        name=_name(ref),
        lifetime="detached",
        bundle_label_selector=[{NODE_ID: member["place"]} for member in members],
    )


def _strategy(places: Sequence[str]) -> str:
    """The scheduler chose the nodes; this tells Ray the same, and what it must not give up."""
    if len(set(places)) == 1:
        return "STRICT_PACK"
    return "STRICT_SPREAD" if len(set(places)) == len(places) else "SPREAD"


def _bundle(member: Mapping[str, Any]) -> dict[str, float]:
    amounts = {"CPU": member["cpu_milli"] / 1000, "GPU": member["gpu"], "memory": member["memory_bytes"]}
    return {name: amount for name, amount in amounts.items() if amount}


def _wanted(ref: Mapping[str, Any]) -> str:
    return ", ".join(f"{_bundle(member)} on node {member['place'][:12]}" for member in ref["members"])


def _groups_of(workload: str) -> list[dict[str, Any]]:
    """The attempts of a workload that hold room in the cluster, each as a `ref`."""
    found = []
    for row in ray.util.placement_group_table().values():
        owner, _, number = str(row["name"]).rpartition("-")
        if owner == workload and number.isdigit() and row["state"] != "REMOVED":
            nodes, bundles = row["bundles_to_node_id"], row["bundles"]
            members = [_member(bundles[index], nodes.get(index, "")) for index in sorted(bundles)]
            found.append({"workload": workload, "attempt": int(number), "members": members})
    return found


def _member(bundle: Mapping[str, float], place: str) -> dict[str, Any]:
    return {
        "place": place,
        "cpu_milli": round(bundle.get("CPU", 0) * 1000),
        "memory_bytes": int(bundle.get("memory", 0)),
        "gpu": int(bundle.get("GPU", 0)),
    }


def _group(name: str) -> PlacementGroup | None:
    try:
        return ray.util.get_placement_group(name)
    except ValueError:
        return None


def _actor(name: str, rank: int) -> Any:
    """None where there is none, or not any more."""
    try:
        return ray.get_actor(f"{name}-{rank}", namespace=NAMESPACE)
    except ValueError:
        return None


def _end(group: str, actors: Sequence[Any]) -> None:
    for actor in filter(None, actors):
        with suppress(RayError):
            ray.kill(actor)
    if found := _group(group):
        ray.util.remove_placement_group(found)


def _name(ref: Mapping[str, Any]) -> str:
    return f"{ref['workload']}-{ref['attempt']}"


def _fence(workload: str) -> int:
    return int(internal_kv._internal_kv_get(f"fence/{workload}", namespace=NAMESPACE.encode()) or 0)


def _raise_fence(workload: str, attempt: int) -> None:
    if _fence(workload) < attempt:
        value = str(attempt).encode()
        internal_kv._internal_kv_put(f"fence/{workload}", value, overwrite=True, namespace=NAMESPACE.encode())


def main(address: str, work_folder: str, runtime_env: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints must not come among the answers
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    cluster, lock = Cluster(work_folder, json.loads(runtime_env)), threading.Lock()

    def answer(line: bytes) -> None:
        asked = json.loads(line)
        reply = {"id": asked["id"], **_reply(cluster, asked)}
        with lock:
            answers.write(json.dumps(reply).encode() + b"\n")
            answers.flush()

    with ThreadPoolExecutor(THREADS) as threads:
        for line in sys.stdin.buffer:
            threads.submit(answer, line)
    os._exit(0)  # the scheduler is gone; what runs is found again by the next


def _reply(cluster: Cluster, asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": getattr(cluster, asked["do"])(**asked["with"])}
    except LaunchFailed as failure:
        return {"failed": str(failure)}
    except Exception as error:  # a cluster that fails in a way of its own must not end the process for all others
        log.exception("asked to %s", asked["do"])
        return {"unreachable": f"{type(error).__name__}: {error}"[:500]}


if __name__ == "__main__":
    main(*sys.argv[1:4])
