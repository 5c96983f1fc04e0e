"""How work is asked for, one workload or thousands at once; and every refusal of what could not run, before there is a row
of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gyre_kit import resources
from gyre_kit.auth import caller
from gyre_kit.db import Session, insert_new
from gyre_kit.errors import AlreadyExists, Exhausted, Invalid, Precondition
from gyre_kit.names import last, project_of
from gyre_kit.outbox import emit_all

from services.gpu_scheduler import facts, priority_classes, queues, store, store_bounds, store_nodes
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import LOCAL
from services.gpu_scheduler.models import AWAY, ClusterQueue, Queue, Workload, WorkloadState
from services.gpu_scheduler.quota import FlavorNotFound, Quota, from_json
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
    guaranteed: bool = False
    user: str = ""
    traceparent: str = ""


async def ensure_all(session: Session, wanted: Mapping[str, Wanted], settings: Settings) -> None:
    """Makes those of one project that are not there yet, or none: the first that is wrong is named. The name is the key of
    idempotence; of one that is there, only whether it is guaranteed may change. A number of statements that does not grow with theirs.

    Raises: BadWorkloadName; BadSpec; ModuleNotAllowed; QueueNotFound; FlavorNotFound; PriorityclassNotFound;
    PriorityAboveBound; FitsNowhere; OverQuota; TooManyWaiting; SpecDiffers; NameTaken.
    """
    for name in wanted:
        check_name(name)
    new = await _not_there_yet(session, wanted)
    if not new:
        return
    for each in new.values():
        _check(each, settings)
    project = project_of(next(iter(new)))
    number = await resources.next_number(session, Workload, project)  # from here on one Ensure a project at a time
    new = await _not_there_yet(session, new)
    await _check_waiting(session, project, range(number, number + len(new)), settings.max_waiting_per_project)
    doors = await queues.named(session, project, {each.queue for each in new.values()})
    await _check_capacity(session, {(each.requests, each.only_flavor) for each in new.values()})
    classes = {each.priority_class for each in new.values()} - {""}
    values = {name: (await priority_classes.get(session, name)).value for name in classes}
    rows = []
    for at, (name, each) in enumerate(new.items()):
        queue, shared = doors[each.queue]
        _check_quota(shared, each.requests, each.only_flavor)
        priority = values.get(each.priority_class, each.priority)
        if each.kind != "REPLICA":  # that one is the platform's
            queues.check_priority(shared, priority + queue.priority)
        rows.append(_row(session, name, each, queue, priority, number + at))
    made = await insert_new(session, Workload, rows)
    if taken := new.keys() - made:
        raise NameTaken(name=min(taken))
    await emit_all(session, {row.name: facts.queued(row) for row in rows})


def check_name(name: str) -> None:
    """Raises: BadWorkloadName."""
    if not NAME.fullmatch(name):
        raise BadWorkloadName(given=name[:120])


async def _not_there_yet(session: Session, wanted: Mapping[str, Wanted]) -> dict[str, Wanted]:
    """Raises: SpecDiffers."""
    there = {row.name: row for row in await store.workloads_named(session, wanted)}
    for name, existing in there.items():
        _check_same(existing, wanted[name])
        if existing.guaranteed != wanted[name].guaranteed:
            row = await resources.get(session, Workload, name, lock=True)
            row.guaranteed = wanted[name].guaranteed
    return {name: each for name, each in wanted.items() if name not in there}


def _row(session: Session, name: str, wanted: Wanted, queue: Queue, priority: int, number: int) -> Workload:
    now = session.clock.now()
    return Workload(
        name=name,
        uid=last(name),
        project=project_of(name),
        number=number,
        display_name=wanted.display_name,
        create_time=now,
        update_time=now,
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
        guaranteed=wanted.guaranteed,
        user=wanted.user or caller().subject,
        traceparent=wanted.traceparent,
        waiting_reason=Reason.NOT_CONSIDERED_YET,
        queue_time=now,
    )


def _check_same(existing: Workload, wanted: Wanted) -> None:
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
    if wanted.guaranteed and wanted.kind != "REPLICA":
        raise BadSpec(field="spec.guaranteed", wanted="false, but for a REPLICA")
    if wanted.max_attempts < 0:
        raise BadSpec(field="spec.max_attempts", wanted="0 or more")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if "\0" not in text else None
    except ValueError:
        return None


async def _check_waiting(session: Session, project: str, numbers: range, most: int) -> None:
    """Raises: TooManyWaiting. Counted at every hundredth part of `most`, so the limit may be passed by one in a hundred."""
    every = max(1, most // COUNTED_AGAIN)
    is_counted = any(number % every == 0 for number in numbers)
    if is_counted and await store_bounds.waiting(session, project) + len(numbers) > most:
        raise TooManyWaiting(project=project, most=most)


async def _check_capacity(session: Session, asked: Collection[tuple[Amount, str]]) -> None:
    """(requests, only flavor). Raises: FlavorNotFound; FitsNowhere. A node that is away may come back; where none was ever
    seen, it waits."""
    flavors = {flavor for _, flavor in asked if flavor}
    if flavors and (unknown := flavors - (known := await store_nodes.flavor_prices(session)).keys()):
        raise FlavorNotFound(field="spec.only_flavor", given=min(unknown)[:80], known="|".join(sorted(known)))
    nodes = [row for row in await store_nodes.node_sizes(session) if row.state not in AWAY]
    for requests, flavor in asked:
        _check_size(requests, [row for row in nodes if flavor in ("", row.flavor)])


def _check_size(requests: Amount, nodes: Sequence[Any]) -> None:
    """Raises: FitsNowhere. Whole cards may be those of several nodes of one flavor, where a launcher can start a gang."""
    sizes = [amount_of(row) for row in nodes]
    together: Counter[tuple[str, str]] = Counter()
    for row in nodes:
        if row.launcher != LOCAL:
            together[row.flavor, row.launcher] += row.gpu * row.nodes
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


def amount_of(row: Any) -> Amount:
    """Of anything that has the columns: what a workload asks for, what a node has."""
    return Amount(row.cpu_milli, row.memory_bytes, row.gpu * CARD + getattr(row, "gpu_milli", 0))
