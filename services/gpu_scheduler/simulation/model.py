"""What a replay is fed with and what comes out of it. Seconds from the trace's beginning; no clock, no session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

WHOLE = 1000  # thousandths of a card


@dataclass(frozen=True, slots=True)
class Job:
    """One line of a trace. `duration` is on the reference flavor; on another it is `duration / speed`.

    `gpu_milli`: under 1000 only with one card, which it then shares. `flavors`: those that it accepts; empty means any.
    """

    id: str
    submit: float
    duration: float
    gpus: int = 0
    cpu_milli: int = 0
    gpu_milli: int = WHOLE
    model_type: str = ""
    flavors: tuple[str, ...] = ()
    queue: str = ""
    user: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """`cpu_milli`, `memory_bytes` 0: unknown, and so no bound."""

    id: str
    gpus: int
    flavor: str
    cpu_milli: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """What a cluster queue may use of a resource (`cpu` in cores, `gpu` in cards) of a flavor. None: no limit."""

    queue: str
    cohort: str
    flavor: str
    resource: str
    nominal: float
    borrowing_limit: float | None = None
    lending_limit: float | None = None
    reclaim_within_cohort: str = "Never"
    within_cluster_queue: str = "Never"
    queueing_strategy: str = "BestEffortFIFO"


@dataclass(frozen=True, slots=True)
class Speeds:
    """(model type, cards) → flavor → speed, as a multiple of the reference flavor's."""

    known: Mapping[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)

    def of(self, job: Job, flavor: str) -> float:
        """1 where nothing is known of it."""
        return self.known.get((job.model_type, job.gpus), {}).get(flavor, 1.0)


@dataclass(frozen=True, slots=True)
class Trace:
    """`nodes` empty: the quotas alone bound what runs."""

    jobs: Sequence[Job]
    nodes: Sequence[Node] = ()
    quotas: Sequence[Quota] = ()
    speeds: Speeds = field(default_factory=Speeds)


@dataclass(frozen=True, slots=True)
class Span:
    """A time for which a job held its cards: `nodes` in count mode is empty."""

    start: float
    end: float
    flavor: str
    nodes: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What became of one job. `end` None: it never ended, and `refusal` says why if it never could."""

    job: Job
    spans: list[Span] = field(default_factory=list)
    end: float | None = None
    preemptions: int = 0
    refusal: str = ""


@dataclass(slots=True)
class Sample:
    """The cluster after one cycle. `stranded`: free cards on nodes that have too few for the smallest gang that waits."""

    time: float
    busy: float
    free: float
    waiting: int
    stranded: float = 0.0


@dataclass(slots=True)
class Replay:
    """`capacity` by flavor, in cards (or cores, where the trace's quotas are of those)."""

    policy: str
    outcomes: list[Outcome]
    capacity: Mapping[str, float]
    samples: list[Sample] = field(default_factory=list)
    cycles: int = 0


def no_progress(done: int, total: int) -> None:
    """Tells nobody how many jobs have ended."""


@dataclass(frozen=True, slots=True)
class Options:
    """`placement`: "nodes", or "count", which ignores them. Seconds; `resume_cost` is what a preempted job loses;
    without `checkpoints` it begins anew.

    `sample_seconds`: the least time between two samples.
    """

    placement: str = "nodes"
    resume_cost: float = 30.0
    checkpoints: bool = True
    sample_seconds: float = 0.0
    progress: Callable[[int, int], None] = no_progress
