"""Tables of the schema `gpu_scheduler`. What has no project (nodes, cards, flavors, cluster queues) all projects share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Numbered, Resource
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("gpu_scheduler")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


def _time(**options: Any) -> Any:
    return Field(sa_type=DateTime(timezone=True), **options)


class NodeState(StrEnum):
    """What READY nodes take is work; none of the others takes any."""

    READY = "READY"
    CORDONED = "CORDONED"
    DRAINING = "DRAINING"
    LOST = "LOST"
    GONE = "GONE"
    FENCING = "FENCING"


AWAY = frozenset({NodeState.LOST, NodeState.GONE})


class Node(Table, table=True):
    """A machine on which work runs. `revision` moves with what was configured, not with what is measured.

    `wanted_state` is what an operator wants of it while it is heard of: READY, CORDONED or DRAINING. `gpu` counts the
    cards that may be given to work. `silent_seconds` adds up in short steps from look to look (`silence`).
    `launcher` starts work there; `place` is what that calls the node, `address` the host by which others reach it.
    """

    name: str = Field(primary_key=True)
    display_name: str = ""
    state: str
    create_time: datetime = _time()
    update_time: datetime = _time()
    revision: int = 1
    hostname: str
    flavor: str
    cpu_milli: int
    memory_bytes: int = Field(sa_type=sa.BigInteger)
    gpu: int
    labels: dict[str, str] = Field(default_factory=dict, sa_type=sa.JSON)
    simulated: bool = False
    launcher: str = "local"
    place: str = ""
    address: str = ""
    last_seen_time: datetime = _time()
    cpu_percent: float = 0.0
    memory_used_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    wanted_state: str = NodeState.READY
    machine_id: str = ""
    boot_id: str = ""
    look_time: datetime | None = _time(default=None)
    silent_seconds: float = 0.0


class Card(Table, table=True):
    """One accelerator. `workload` is who holds it, until its stop is confirmed.

    With a `fault_code` it is SICK and nobody gets it; `fault_keys` are the occurrences that are held against it,
    `acknowledged` those that an operator has seen. `missing_looks`: readings in a row in which it was not.
    """

    name: str = Field(primary_key=True)
    node: str = Field(index=True)
    index: int
    uuid: str
    model: str
    memory_bytes: int = Field(sa_type=sa.BigInteger)
    memory_used_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    utilisation_percent: float = 0.0
    temperature_celsius: float = 0.0
    power_watts: float = 0.0
    workload: str = ""
    present: bool = True
    simulated: bool = False
    maker: str = ""
    link_group: int = 0
    driver_version: str = ""
    mig_enabled: bool = False
    missing_looks: int = 0
    fault_code: str = ""
    fault_message: str = ""
    fault_time: datetime | None = _time(default=None)
    fault_keys: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    acknowledged: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    warnings: list[str] = Field(default_factory=list, sa_type=sa.JSON)


class Flavor(Table, table=True):
    """A kind of resource with its price. `set_by_operator` names the prices that nothing but an operator changes."""

    name: str = Field(primary_key=True)
    display_name: str = ""
    node_labels: dict[str, str] = Field(default_factory=dict, sa_type=sa.JSON)
    cpu_hour_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    gpu_hour_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    price_source: str = ""
    set_by_operator: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    revision: int = 1


class ClusterQueue(Table, table=True):
    """`quotas`: flavor → {cpu_milli, memory_bytes, gpu, borrowing, lending}; empty gives all that the nodes have.

    `borrowing` and `lending` are amounts like the nominal ones, of which what is not named is not limited.
    `preemption`: fields of decisions.quotas.Preemption; what is not named has its default. `max_priority`: of a queue
    and its work together; None: no bound. `projects`: whose queues may point to it; empty: those of all.
    """

    name: str = Field(primary_key=True)
    quotas: dict[str, dict[str, Any]] = Field(default_factory=dict, sa_type=sa.JSON)
    cohort: str = ""
    weight: float = 1.0
    strict: bool = False
    preemption: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    max_priority: int | None = None
    projects: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    revision: int = 1


class Cohort(Table, table=True):
    """Cluster queues, and cohorts, that lend to one another what they do not use."""

    name: str = Field(primary_key=True)
    parent: str = ""
    quotas: dict[str, dict[str, Any]] = Field(default_factory=dict, sa_type=sa.JSON)
    weight: float = 1.0
    revision: int = 1


class PriorityClass(Table, table=True):
    """A priority that has a name (Kueue: WorkloadPriorityClass). Work keeps the value that it had at submission."""

    name: str = Field(primary_key=True)
    value: int
    description: str = ""
    revision: int = 1


class SteadyTime(Table, table=True):
    """One row: seconds that add up in short steps from look to look, whatever the time of day does (`steady`)."""

    id: int = Field(primary_key=True)
    look_time: datetime = _time()
    seconds: float = 0.0


class Topology(Table, table=True):
    """One row, whose version is another after any change of nodes, cards, flavors, queues, cluster queues or cohorts."""

    id: int = Field(primary_key=True)
    version: int = Field(sa_type=sa.BigInteger)


class QueueState(StrEnum):
    ACTIVE = "ACTIVE"
    HELD = "HELD"


class Queue(Table, Resource, table=True):
    """A project's door to a cluster queue. `budget_microusd` 0: no limit; `budget_period`: DAY or MONTH of UTC."""

    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str
    cluster_queue: str
    priority: int = 0
    budget_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    budget_period: str = "MONTH"


class WorkloadState(StrEnum):
    QUEUED = "QUEUED"
    ADMITTED = "ADMITTED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


S = WorkloadState
HOLDING = frozenset({S.ADMITTED, S.STARTING, S.RUNNING, S.STOPPING})
ENDED = frozenset({S.FINISHED, S.FAILED, S.CANCELLED})


class StopReason(StrEnum):
    """Why a workload is STOPPING, and so where it goes from there."""

    NONE = ""
    CANCEL = "CANCEL"
    PREEMPTION = "PREEMPTION"
    HOLD = "HOLD"
    MAX_RUN = "MAX_RUN"
    NODE_DRAINED = "NODE_DRAINED"
    CARD_FAILED = "CARD_FAILED"
    NODE_LOST = "NODE_LOST"


class Workload(Table, Resource, Numbered, Leased, table=True):
    """One piece of work. It holds its requests in the states of HOLDING, and in no other.

    `uid` is the last part of the name. It is unique over all projects, because it names the work folder.
    `gpu_milli`: a share of one card, with `gpu` 0. `ran_seconds`: what its ended attempts ran, by their flavor's speed.
    `admit_seconds`: the steady time of its admission, from which its longest run counts.
    `preempted_for`, `preemption_rule`: who gained by its last preemption. `promised`: what it gets when they are gone.
    """

    State: ClassVar[type[WorkloadState]] = WorkloadState
    TRANSITIONS: ClassVar[Mapping[WorkloadState, frozenset[WorkloadState]]] = {
        S.QUEUED: frozenset({S.ADMITTED, S.CANCELLED}),
        S.ADMITTED: frozenset({S.STARTING, S.STOPPING, S.QUEUED, S.FAILED}),
        S.STARTING: frozenset({S.RUNNING, S.STOPPING, S.FINISHED, S.QUEUED, S.FAILED}),
        S.RUNNING: frozenset({S.STOPPING, S.FINISHED, S.QUEUED, S.FAILED}),
        S.STOPPING: frozenset({S.CANCELLED, S.QUEUED, S.FINISHED, S.FAILED}),
        S.FINISHED: frozenset(),
        S.FAILED: frozenset(),
        S.CANCELLED: frozenset(),
    }
    __table_args__ = (
        sa.UniqueConstraint("project", "number"),
        sa.UniqueConstraint("uid"),
        sa.Index("workload_waiting", "project", postgresql_where=sa.text("state = 'QUEUED'")),
        sa.CheckConstraint("kind IN ('TRAINER', 'REPLICA', 'JOB')"),
        sa.CheckConstraint("cpu_milli >= 0 AND memory_bytes >= 0 AND gpu >= 0"),
    )

    uid: str
    change: int = Field(
        default=0, index=True, sa_type=sa.BigInteger
    )  # set by a trigger: the transaction that changed it
    state: str = Field(index=True)
    kind: str
    module: str
    spec_json: str
    cpu_milli: int
    memory_bytes: int = Field(sa_type=sa.BigInteger)
    gpu: int
    queue: str = Field(index=True)
    priority: int = 0
    priority_class: str = ""
    max_attempts: int = 0
    owner: str = Field(default="", index=True)
    user: str = ""
    only_flavor: str = ""
    gpu_milli: int = 0
    max_run_seconds: float = 0.0
    throughput_class: str = ""
    guaranteed: bool = False
    held: bool = False
    ran_seconds: float = 0.0
    preemptions: int = 0
    preempted_for: str = ""
    preemption_rule: str = ""
    promised: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    traceparent: str = ""
    waiting_reason: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    attempt: int = 0
    faults: int = 0
    exit_code: int | None = None
    address: str = ""
    result_json: str = ""
    node: str = ""
    flavor: str = ""
    stop_reason: str = StopReason.NONE
    queue_time: datetime = _time()
    not_before: datetime | None = _time(default=None)
    admit_time: datetime | None = _time(default=None)
    admit_seconds: float = 0.0
    start_time: datetime | None = _time(default=None)
    end_time: datetime | None = _time(default=None)


class Attempt(Table, table=True):
    """One admission of a workload, and the process that came of it. The row is the intent: it precedes the process.

    Its prices are those of its admission. `placement`: what it holds of each node, see `placements`; `members`: what of it
    runs where, in the order of ranks, as in `launchers.base.Member`; empty where that is one node, until the launch.
    `handle` is what its launcher answered, empty before. `end_reason`: NODE_LOST, the rule by which it gave way to
    `preempted_for` (nobody, where its node or card wanted it away), or empty. `unconfirmed`: it ended because its node
    was gone, so what it started may still run there until the node is back and was fenced. `rolled_up` says that what
    it held is in UsageDay.
    """

    __table_args__ = (
        sa.Index("ix_gpu_scheduler_attempt_unconfirmed", "node", postgresql_where=sa.text("unconfirmed")),
        sa.Index("attempt_not_rolled_up", "admit_time", postgresql_where=sa.text("NOT rolled_up")),
        sa.Index("attempt_preempted", "end_time", postgresql_where=sa.text("preempted")),
        sa.Index("attempt_admit_time", "admit_time"),
        sa.Index("attempt_end_time", "end_time"),
    )

    name: str = Field(primary_key=True)
    project: str = Field(index=True)
    workload: str = Field(index=True)
    number: int
    node: str
    flavor: str
    cpu_milli: int
    memory_bytes: int = Field(sa_type=sa.BigInteger)
    gpu: int
    cpu_hour_microusd: int = Field(sa_type=sa.BigInteger)
    gpu_hour_microusd: int = Field(sa_type=sa.BigInteger)
    card_uuids: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    placement: list[Any] = Field(default_factory=list, sa_type=sa.JSON)
    gpu_milli: int = 0
    admit_time: datetime = _time()
    launch_time: datetime | None = _time(default=None)
    term_time: datetime | None = _time(default=None)
    end_time: datetime | None = _time(default=None)
    sample_time: datetime | None = _time(default=None)
    launcher: str = ""
    members: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    handle: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    end_reason: str = ""
    preempted_for: str = ""
    port: int = 0
    exit_code: int | None = None
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    unconfirmed: bool = False
    preempted: bool = False
    rolled_up: bool = False


class Throughput(Table, table=True):
    """What one class of work was measured to do on so many cards of a flavor; `rate` leans to what was seen last."""

    throughput_class: str = Field(primary_key=True)
    cards: int = Field(primary_key=True)
    flavor: str = Field(primary_key=True)
    rate: float
    samples: int = 1
    update_time: datetime = _time()


class UsageDay(Table, table=True):
    """What ended attempts held on one day of UTC, in whole numbers, so that sums are exact.

    `held_us` is microseconds; cores and cards are thousandths times microseconds; `cost` is that times the price of an
    hour in microdollars. An attempt is in here if and only if its `rolled_up` is true.
    """

    day: datetime = _time(primary_key=True)
    project: str = Field(primary_key=True)
    user: str = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    flavor: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    held_us: Decimal = Field(sa_type=sa.Numeric)
    core_milli_us: Decimal = Field(sa_type=sa.Numeric)
    card_milli_us: Decimal = Field(sa_type=sa.Numeric)
    cost: Decimal = Field(sa_type=sa.Numeric)
    attempt_count: int = Field(sa_type=sa.BigInteger)
    preemption_count: int = Field(sa_type=sa.BigInteger)


class CapacitySpan(Table, table=True):
    """What one node had to give from `start_time` until it changed. Open spans are those without an end."""

    node: str = Field(primary_key=True)
    start_time: datetime = _time(primary_key=True)
    end_time: datetime | None = _time(default=None, index=True)
    seen_time: datetime = _time()
    flavor: str
    cpu_milli: int
    cards: int
    simulated_cards: int
