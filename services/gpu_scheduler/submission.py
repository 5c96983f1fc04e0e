"""How work is asked for: one workload a name, and every refusal of what could not run, before there is a row of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gyre_kit import resources
from gyre_kit.auth import caller
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Exhausted, Invalid, Precondition
from gyre_kit.names import last, project_of
from gyre_kit.outbox import emit
from gyre_kit.telemetry import current_traceparent
from sqlalchemy.exc import IntegrityError

from services.gpu_scheduler import facts, priority_classes, queues, store, store_bounds
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import LOCAL
from services.gpu_scheduler.models import AWAY, ClusterQueue, Queue, Workload, WorkloadState
from services.gpu_scheduler.quota import FlavorNotFound, Quota, from_json
from services.gpu_scheduler.service import amount_of
from services.gpu_scheduler.settings import Settings

NAME = re.compile(r"projects/[^/]+/workloads/[0-9A-Za-z]{1,63}")
MAX_SPEC_CHARACTERS = 1_000_000
LONGEST_RUN = 366 * 86_400.0
MOST = Amount(1_000_000_000, 1 << 60, 1_000_000 * CARD)  # a million cores, an exbibyte, a million cards: more is a slip
COUNTED_AGAIN = 100  # what waits is counted once for so many parts of its limit, so that a burst does not count itself


class BadWorkloadName(Invalid):
    """A workload is named projects/{project}/workloads/{ulid}; choose a new ULID for each."""


class ModuleNotAllowed(Invalid):
    """Only modules of the allow-list may be run (GYRE_WORKLOAD_MODULES)."""


class BadSpec(Invalid):
    """The workload's specification is not usable: correct the field that is named."""


class SpecDiffers(AlreadyExists):
    """There is a workload of that name with another specification; choose a new ULID."""


class NameTaken(AlreadyExists):
    """That ULID is in use; choose a new one."""


class FitsNowhere(Precondition):
    """No node is large enough for it, however long it waits: ask for less, or add a node."""


class OverQuota(Precondition):
    """Its queue may never use so much, borrowed or not: ask for less, use another queue, or ask an operator for quota."""


class TooManyWaiting(Exhausted):
    """The project has as much work waiting as it may have: submit more when some of it has started, or cancel some."""


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to be run. `spec_json` is a JSON object; `max_attempts` 0 takes the default of its kind.

    `user` is who caused it, for accounting; empty means the caller.
    """

    kind: str
    module: str
    spec_json: str
    requests: Amount
    queue: str = ""
    priority: int = 0
    priority_class: str = ""
    max_attempts: int = 0
    owner: str = ""
    display_name: str = ""
    only_flavor: str = ""
    max_run_seconds: float = 0.0
    throughput_class: str = ""
    user: str = ""


async def ensure(session: Session, name: str, wanted: Wanted, settings: Settings) -> Workload:
    """The workload of that name, made if it is not there yet. The name is the key of idempotence.

    Raises: BadWorkloadName; BadSpec; ModuleNotAllowed; QueueNotFound; FlavorNotFound; PriorityclassNotFound;
    PriorityAboveBound; FitsNowhere; OverQuota; TooManyWaiting; SpecDiffers; NameTaken.
    """
    if not NAME.fullmatch(name):
        raise BadWorkloadName(given=name[:120])
    if existing := await store.find_workload(session, name):
        return _same(existing, wanted)
    _check(wanted, settings)
    project = project_of(name)
    number = await resources.next_number(session, Workload, project)  # from here on one Ensure a project at a time
    if existing := await store.find_workload(session, name):
        return _same(existing, wanted)
    await _check_waiting(session, project, number, settings.max_waiting_per_project)
    queue = await queues.of_workload(session, project, wanted.queue)
    shared = await session.get_one(ClusterQueue, queue.cluster_queue)
    priority = await _priority(session, wanted, queue, shared)
    await _check_capacity(session, wanted.requests, wanted.only_flavor)
    _check_quota(shared, wanted.requests, wanted.only_flavor)
    workload = Workload(
        name=name,
        uid=last(name),
        project=project,
        number=number,
        display_name=wanted.display_name,
        state=WorkloadState.QUEUED,
        kind=wanted.kind,
        module=wanted.module,
        spec_json=wanted.spec_json,
        cpu_milli=wanted.requests.cpu_milli,
        memory_bytes=wanted.requests.memory_bytes,
        gpu=wanted.requests.cards,
        gpu_milli=wanted.requests.gpu_milli % CARD,
        queue=queue.name,
        priority=priority,
        priority_class=wanted.priority_class,
        max_attempts=wanted.max_attempts,
        owner=wanted.owner,
        only_flavor=wanted.only_flavor,
        max_run_seconds=wanted.max_run_seconds,
        throughput_class=wanted.throughput_class,
        user=wanted.user or caller().subject,
        traceparent=current_traceparent(),
        waiting_reason=Reason.NOT_CONSIDERED_YET,
        queue_time=session.clock.now(),
    )
    await _insert(session, workload)
    await emit(session, workload.name, facts.queued(workload))
    return workload


def _same(existing: Workload, wanted: Wanted) -> Workload:
    """Raises: SpecDiffers. What only people see (display_name, user) may differ."""
    priority = (existing.priority_class, 0 if existing.priority_class else existing.priority)
    spec = (existing.kind, existing.module, json.loads(existing.spec_json), priority, existing.owner)
    asked = (wanted.priority_class, wanted.priority)
    given = (wanted.kind, wanted.module, _parsed(wanted.spec_json), asked, wanted.owner)
    places = existing.only_flavor == wanted.only_flavor and wanted.queue in ("", existing.queue)
    places = places and existing.max_run_seconds == wanted.max_run_seconds
    amounts = amount_of(existing)
    if spec != given or amounts != wanted.requests or not places:
        raise SpecDiffers(name=existing.name)
    return existing


def _check(wanted: Wanted, settings: Settings) -> None:
    if not wanted.kind:
        raise BadSpec(field="spec.kind", allowed="TRAINER|REPLICA|JOB")
    if wanted.module not in settings.workload_modules:
        raise ModuleNotAllowed(
            field="spec.module", given=wanted.module[:80], allowed="|".join(settings.workload_modules)
        )
    if len(wanted.spec_json) > MAX_SPEC_CHARACTERS or not isinstance(_parsed(wanted.spec_json), dict):
        raise BadSpec(field="spec.spec_json", wanted=f"a JSON object of at most {MAX_SPEC_CHARACTERS} characters")
    if any("\0" in text for text in (wanted.owner, wanted.display_name, wanted.queue, wanted.user)):
        raise BadSpec(field="spec", wanted="text without NUL")
    asked = wanted.requests
    if asked.cpu_milli < 1 or asked.memory_bytes < 0 or asked.gpu_milli < 0:
        raise BadSpec(field="spec.requests", wanted="cpu_milli of at least 1, and nothing below 0")
    if not asked.fits_in(MOST):
        most = f"{MOST.cpu_milli} cpu_milli, {MOST.memory_bytes} memory_bytes and {MOST.cards} gpu"
        raise BadSpec(field="spec.requests", wanted=f"at most {most}")
    if asked.gpu_milli > CARD and asked.gpu_milli % CARD:
        raise BadSpec(field="spec.requests", wanted="whole cards in gpu, or a share of one in gpu_milli, not both")
    if not 0 <= wanted.max_run_seconds <= LONGEST_RUN:
        raise BadSpec(field="spec.max_run_seconds", wanted=f"0 to {LONGEST_RUN:.0f} seconds")
    if wanted.priority_class and wanted.priority:
        raise BadSpec(field="spec.priority", wanted="0 with a priority_class, which has a value of its own")
    if wanted.max_attempts < 0:
        raise BadSpec(field="spec.max_attempts", wanted="0 or more")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if "\0" not in text else None
    except ValueError:
        return None


async def _check_waiting(session: Session, project: str, number: int, most: int) -> None:
    """Raises: TooManyWaiting. Counted at every hundredth part of `most`, so the limit may be passed by one in a hundred."""
    if number % max(1, most // COUNTED_AGAIN) == 0 and await store_bounds.waiting(session, project) >= most:
        raise TooManyWaiting(project=project, most=most)


async def _priority(session: Session, wanted: Wanted, queue: Queue, shared: ClusterQueue) -> int:
    """Raises: PriorityclassNotFound; PriorityAboveBound."""
    priority = wanted.priority
    if wanted.priority_class:
        priority = (await priority_classes.get(session, wanted.priority_class)).value
    if wanted.kind != "REPLICA":  # that one is the platform's
        queues.check_priority(shared, priority + queue.priority)
    return priority


async def _check_capacity(session: Session, requests: Amount, only_flavor: str) -> None:
    """Raises: FlavorNotFound; FitsNowhere. A node that is away may come back; where none was ever seen, it waits. Whole
    cards may be those of several nodes of one flavor, where a launcher can start a gang there."""
    if only_flavor and only_flavor not in (known := await store.flavor_prices(session)):
        raise FlavorNotFound(field="spec.only_flavor", given=only_flavor[:80], known="|".join(sorted(known)))
    nodes = [node for node in await store.nodes(session) if node.state not in AWAY]
    nodes = [node for node in nodes if only_flavor in ("", node.flavor)]
    sizes = [amount_of(node) for node in nodes]
    together: dict[tuple[str, str], int] = {}
    for node in nodes:
        if node.launcher != LOCAL:
            key = (node.flavor, node.launcher)
            together[key] = together.get(key, 0) + node.gpu
    fits = any(requests.fits_in(size) for size in sizes) or 1 < requests.cards <= max(together.values(), default=0)
    if sizes and not fits:
        largest = max(sizes, key=lambda size: (size.gpu_milli, size.cpu_milli, size.memory_bytes))
        raise FitsNowhere(asked=_text(requests), largest_node=_text(largest))


def _check_quota(shared: ClusterQueue, requests: Amount, only_flavor: str) -> None:
    """Raises: OverQuota. Of a cohort without a borrowing limit it is not known here how much there may be one day."""
    quotas: Mapping[str, Quota] = from_json(shared.quotas)
    usable = [quota for flavor, quota in quotas.items() if only_flavor in ("", flavor)]
    if not quotas or any(_may_ever(quota, requests, borrows=bool(shared.cohort)) for quota in usable):
        return
    most = "; ".join(f"{flavor}: {_text(quota.nominal)}" for flavor, quota in sorted(quotas.items()))
    raise OverQuota(asked=_text(requests), cluster_queue=shared.name, quotas=most)


def _may_ever(quota: Quota, requests: Amount, *, borrows: bool) -> bool:
    if not borrows:
        return requests.fits_in(quota.nominal)
    return quota.borrowing is None or requests.fits_in(quota.nominal.plus(quota.borrowing))


def _text(amount: Amount) -> str:
    return f"{amount.cpu_milli}m cpu, {amount.memory_bytes} bytes, {amount.gpu_milli / CARD:g} gpu"


async def _insert(session: Session, workload: Workload) -> None:
    """Raises: NameTaken, for the ULID of a workload that this project cannot see."""
    try:
        async with session.begin_nested():
            session.add(workload)
            await session.flush()
    except IntegrityError as error:
        raise NameTaken(name=workload.name) from error
