"""The replicas of a target: as many as are wanted, started anew when they end, drained when they are too many."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gyre_kit.db import Session
from gyre_kit.names import new_id, project_of
from gyre_kit.states import transition

from services.inference_gateway import store
from services.inference_gateway.models.deployments import Replica, ReplicaState, Target, TargetState
from services.inference_gateway.replicas.scaling import Bounds
from services.inference_gateway.targets import LEAVING, Sighting

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=10)
HEALTHY = timedelta(seconds=60)  # a replica that served so long is forgiven its earlier failures
GONE = (ReplicaState.DRAINING, ReplicaState.STOPPED)
BEST_FIRST = (ReplicaState.READY, ReplicaState.STARTING, ReplicaState.PENDING, ReplicaState.FAILED)
LOADING_FIRST = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.PENDING, ReplicaState.FAILED)
NOT_GUARANTEED = (TargetState.STANDBY, TargetState.FAILED, *LEAVING)
OWN_FAULT = ("BAD_SPEC", "SUPERSEDED", "ATTEMPTS_EXHAUSTED")


@dataclass(frozen=True)
class Seen:
    """How a replica was found just now."""

    state: ReplicaState
    address: str = ""
    failure_reason: str = ""
    failure_message: str = ""


@dataclass(frozen=True)
class Look:
    """At all replicas of a deployment, by id; and how many each target should have, by its id."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


NOT_LOOKED = Look()


async def keep(
    session: Session, target: Target, rows: Sequence[Replica], look: Look, bounds: Bounds
) -> Sighting | None:
    """1 what was seen of each, 2 how many there should be, 3 as many as that, 4 what this makes of the target. One that
    sleeps wakes when it may do so no more.

    None where nothing new is known of it.
    """
    for replica in rows:
        if replica.id in look.seen:
            await see(session, target, replica, look.seen[replica.id])
    if target.id in look.sizes:
        _resize(session, target, look.sizes[target.id], bounds)
    if target.state == TargetState.ASLEEP and bounds.least and (target.weight_percent or target.shadow_percent):
        await _wake(session, target, bounds.least)
    rows = await fit(session, target, rows)
    if target.state in LEAVING or (target.state == TargetState.ASLEEP and not target.replicas):
        return None
    if not target.replicas or any(replica.id in look.seen for replica in rows):
        return together(target, rows)
    return None


async def fit(session: Session, target: Target, rows: Sequence[Replica]) -> list[Replica]:
    """Makes those that are missing, drains those too many (what does not answer first, then the youngest), and starts
    anew what has waited long enough.
    """
    wanted = 0 if target.state in LEAVING else target.replicas
    alive = [replica for replica in rows if replica.state not in GONE]
    new = [new_replica(target) for _ in range(wanted - len(alive))]
    session.add_all(new)
    for replica in sorted(alive, key=_use)[: max(len(alive) - wanted, 0)]:
        replica.drain_time = session.clock.now()
        await transition(session, replica, ReplicaState.DRAINING)
    for replica in alive:
        is_due = replica.retry_time is not None and replica.retry_time <= session.clock.now()
        if replica.state == ReplicaState.FAILED and is_due:
            replica.workload, replica.address, replica.retry_time = _new_workload(target), "", None
            await transition(session, replica, ReplicaState.PENDING)
    return [*rows, *new]


async def see(session: Session, target: Target, replica: Replica, seen: Seen) -> None:
    """Takes over what was seen; one that leaves only ever stops."""
    replica.address = seen.address or replica.address
    replica.failure_reason, replica.failure_message = seen.failure_reason, seen.failure_message
    if replica.state == seen.state or (replica.state == ReplicaState.DRAINING and seen.state != ReplicaState.STOPPED):
        return
    if seen.state == ReplicaState.FAILED:
        _plan_anew(session, target, replica)
    if seen.state == ReplicaState.READY:
        replica.ready_time = session.clock.now()
    await transition(session, replica, seen.state)


def together(target: Target, rows: Sequence[Replica]) -> Sighting:
    """A target is as well as the best of its replicas; with none, it sleeps. A new one waits for all that load, so that
    a rollout does not give it more than it can bear. One that stands by goes on to, as long as any may answer.
    """
    alive = [replica for replica in rows if replica.state not in GONE]
    order = BEST_FIRST if target.ready_time else LOADING_FIRST
    best = next((each for state in order for each in alive if each.state == state), None)
    if best is None:
        state = TargetState.PENDING if target.replicas else TargetState.ASLEEP
    else:
        state = TargetState(best.state)
    if target.state == TargetState.STANDBY:
        state = TargetState.DRAINING if state == TargetState.FAILED else TargetState.STANDBY
    if best is None or best.state == ReplicaState.READY:
        return Sighting(state)
    return Sighting(state, best.failure_reason, best.failure_message)


async def wake(session: Session, target_id: str) -> bool:
    """Starts a replica of a target that sleeps. False where there is nothing to wake: it is up, or on its way."""
    await store.due_for_target(session, target_id)  # which locks the deployment, as all do before its targets
    target = await store.lock_target(session, target_id)
    if target is None or target.state != TargetState.ASLEEP:
        return False
    await _wake(session, target, 1)
    await fit(session, target, (await store.replicas_of(session, [target.id]))[target.id])
    return True


async def _wake(session: Session, target: Target, replicas: int) -> None:
    target.replicas, target.wake_time = replicas, session.clock.now()
    await transition(session, target, TargetState.PENDING)


def guaranteed(target: Target, rows: Sequence[Replica], bounds: Bounds) -> set[str]:
    """Ids of those that are to be there at least: the last that would be drained. What only stands by has none."""
    if target.state in NOT_GUARANTEED:
        return set()
    alive = sorted((replica for replica in rows if replica.state not in GONE), key=_use)
    return {replica.id for replica in alive[max(len(alive) - bounds.least, 0) :]}


def _use(replica: Replica) -> tuple[bool, float]:
    return replica.state == ReplicaState.READY, -replica.create_time.timestamp()


def new_replica(target: Target) -> Replica:
    replica_id = new_id()
    return Replica(
        name=f"{target.deployment}/replicas/{replica_id}",
        project=target.project,
        id=replica_id,
        deployment=target.deployment,
        target=target.id,
        workload=_new_workload(target),
    )


def _new_workload(target: Target) -> str:
    return f"projects/{project_of(target.deployment)}/workloads/{new_id()}"


def _resize(session: Session, target: Target, wanted: int, bounds: Bounds) -> None:
    """To none at all only if nobody woke it just now."""
    awake_until = target.wake_time and target.wake_time + timedelta(seconds=bounds.idle_seconds)
    if wanted == 0 and awake_until and session.clock.now() < awake_until:
        return
    if target.state == TargetState.ASLEEP or target.replicas == wanted:
        return
    log.info("scaled", extra={"target": target.name, "replicas_before": target.replicas, "replicas": wanted})
    target.replicas = wanted


def _plan_anew(session: Session, target: Target, replica: Replica) -> None:
    """When a replica that failed is started anew. What never answered and failed by its own fault is not: it would
    again. The scheduler has tried it several times by then.
    """
    now = session.clock.now()
    served_well = replica.ready_time is not None and now - replica.ready_time >= HEALTHY
    replica.failures = 1 if served_well else replica.failures + 1
    if target.ready_time is None and replica.failure_reason in OWN_FAULT:
        replica.retry_time = None
        return
    doublings = min(replica.failures - 1, 10)
    replica.retry_time = now + min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
