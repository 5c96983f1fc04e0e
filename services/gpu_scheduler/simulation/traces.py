"""A trace's four files. The README of the how-to says what each column means; `gyre simulate import` writes them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.gpu_scheduler.simulation.model import WHOLE, Job, Node, Quota, Speeds, Trace
from services.gpu_scheduler.simulation.tables import Place, Row, read_table, shown

JOB_NEEDED = ("job_id", "submit_s", "duration_s", "gpus")
JOB_OPTIONAL = ("cpus", "gpu_milli", "model_type", "flavors", "queue", "user", "priority")
NODE_NEEDED = ("node_id", "gpus", "flavor")
NODE_OPTIONAL = ("cpus", "mem_mib")
QUOTA_NEEDED = ("queue", "cohort", "flavor", "resource", "nominal")
QUOTA_OPTIONAL = (
    "borrowing_limit", "lending_limit", "reclaim_within_cohort", "within_cluster_queue", "queueing_strategy",
)  # fmt: skip
SPEED = "speed_"
MIB = 1 << 20
# Kueue's words: ClusterQueue.spec.preemption and .queueingStrategy.
RECLAIM = ("Never", "LowerPriority", "Any")
WITHIN = ("Never", "LowerPriority", "LowerOrNewerEqualPriority")
STRATEGIES = ("StrictFIFO", "BestEffortFIFO")


@dataclass(frozen=True, slots=True)
class Known:
    """What the jobs of a trace may name. None: anything."""

    flavors: frozenset[str] | None = None
    queues: frozenset[str] | None = None


def read_trace(trace: Path, nodes: Path | None = None, quotas: Path | None = None, speeds: Path | None = None) -> Trace:
    """Jobs come back by time of submission; jobs of the same time keep their order. Raises: BadTrace."""
    node_rows = read_nodes(nodes) if nodes else []
    flavors = frozenset(node.flavor for node in node_rows)
    quota_rows = read_quotas(quotas, flavors or None) if quotas else []
    flavors |= {quota.flavor for quota in quota_rows}
    table, speed_flavors = read_speeds(speeds) if speeds else (Speeds(), frozenset[str]())
    queues = frozenset(quota.queue for quota in quota_rows)
    known = Known(flavors | speed_flavors or None, queues or None)
    return Trace(read_jobs(trace, known), node_rows, quota_rows, table)


def read_jobs(path: Path, known: Known = Known()) -> list[Job]:
    """Raises: BadTrace."""
    lines: dict[str, int] = {}
    jobs: list[Job] = []
    for row in read_table(path, JOB_NEEDED, JOB_OPTIONAL).rows:
        job = _job(row, known)
        first = lines.setdefault(job.id, row.line)
        if first != row.line:
            row.place("job_id").refuse(
                f"{shown(job.id)} is on line {first} already", "Give every job a name of its own."
            )
        jobs.append(job)
    if not jobs:
        Place(path.name).refuse("it has no job", "Below the header, every line is a job.")
    jobs.sort(key=lambda job: job.submit)
    return jobs


def read_nodes(path: Path) -> list[Node]:
    """Raises: BadTrace."""
    nodes: dict[str, Node] = {}
    for row in read_table(path, NODE_NEEDED, NODE_OPTIONAL).rows:
        node = Node(
            id=row.needed("node_id"),
            gpus=row.whole("gpus"),
            flavor=row.needed("flavor"),
            cpu_milli=round(row.number("cpus", 0.0) * 1000),
            memory_bytes=round(row.number("mem_mib", 0.0) * MIB),
        )
        if node.id in nodes:
            row.place("node_id").refuse(f"{shown(node.id)} is there twice", "Give every node a name of its own.")
        nodes[node.id] = node
    return list(nodes.values()) or Place(path.name).refuse("it has no node", "Below the header, every line is a node.")


def read_quotas(path: Path, flavors: frozenset[str] | None = None) -> list[Quota]:
    """`flavors`: those of the nodes; None: any. Raises: BadTrace."""
    quotas: dict[tuple[str, str, str], Quota] = {}
    cohorts: dict[str, str] = {}
    for row in read_table(path, QUOTA_NEEDED, QUOTA_OPTIONAL).rows:
        quota = _quota(row)
        key = quota.queue, quota.flavor, quota.resource
        if key in quotas:
            row.place("queue").refuse(f"{shown(' '.join(key))} is there twice", "Keep one of the lines.")
        if cohorts.setdefault(quota.queue, quota.cohort) != quota.cohort:
            row.place("cohort").refuse(f"{shown(quota.queue)} is in another cohort above", "A queue is in one cohort.")
        if flavors is not None and quota.flavor not in flavors:
            _refuse_flavor(row, "flavor", quota.flavor, flavors)
        quotas[key] = quota
    return list(quotas.values()) or Place(path.name).refuse("it has no quota", "Below the header, every line is one.")


def read_speeds(path: Path) -> tuple[Speeds, frozenset[str]]:
    """The speeds, and the flavors that have a column. A blank cell: nothing is known, which counts as 1.

    0 says that such jobs do not run on that flavor (Gavel's table has some). Raises: BadTrace.
    """
    table = read_table(path, ("model_type", "gpus"))
    flavors = [name.removeprefix(SPEED) for name in table.columns if name.startswith(SPEED)]
    if not flavors or "" in flavors:
        Place(path.name, 1).refuse("no column gives a speed", f"Name them {SPEED}FLAVOR, for example {SPEED}a100.")
    known: dict[tuple[str, int], Mapping[str, float]] = {}
    for row in table.rows:
        key = row.text("model_type"), row.whole("gpus")
        if key in known:
            row.place("model_type").refuse(f"{key[0]!r} with {key[1]} cards is there twice", "Keep one of the lines.")
        known[key] = {name: row.number(SPEED + name) for name in flavors if row.text(SPEED + name)}
    return Speeds(known), frozenset(flavors)


def half(trace: Trace, *, second: bool) -> Trace:
    """The earlier or the later half of the jobs, by number. The later one begins at second 0 too."""
    middle = len(trace.jobs) // 2
    if not second:
        return replace(trace, jobs=trace.jobs[:middle])
    begin = trace.jobs[middle].submit if middle < len(trace.jobs) else 0.0
    return replace(trace, jobs=[replace(job, submit=job.submit - begin) for job in trace.jobs[middle:]])


def write_trace(trace: Trace, folder: Path) -> list[Path]:
    """trace.csv, and nodes.csv, quotas.csv and speeds.csv where there are any. Each is whole or not there at all."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [_write(folder / "trace.csv", (*JOB_NEEDED, *JOB_OPTIONAL), map(_job_cells, trace.jobs))]
    if trace.nodes:
        written.append(_write(folder / "nodes.csv", (*NODE_NEEDED, *NODE_OPTIONAL), map(_node_cells, trace.nodes)))
    if trace.quotas:
        written.append(_write(folder / "quotas.csv", (*QUOTA_NEEDED, *QUOTA_OPTIONAL), map(_quota_cells, trace.quotas)))
    if trace.speeds.known:
        flavors = sorted({flavor for speeds in trace.speeds.known.values() for flavor in speeds})
        header = ("model_type", "gpus", *(SPEED + flavor for flavor in flavors))
        written.append(_write(folder / "speeds.csv", header, _speed_cells(trace.speeds, flavors)))
    return written


def _job(row: Row, known: Known) -> Job:
    gpus = row.whole("gpus", 0)
    milli = row.whole("gpu_milli", WHOLE, 1)
    if milli > WHOLE or (milli < WHOLE and gpus != 1):
        row.place("gpu_milli").refuse(
            f"{milli} thousandths of a card with {gpus} cards",
            f"Only a job with one card may ask for less than {WHOLE}.",
        )
    flavors = tuple(dict.fromkeys(filter(None, map(str.strip, row.text("flavors").split("|")))))
    if known.flavors is not None and flavors and not known.flavors & set(flavors):
        _refuse_flavor(row, "flavors", "|".join(flavors), known.flavors)
    queue = row.text("queue")
    if known.queues is not None and queue not in known.queues:
        row.place("queue").refuse(f"{shown(queue)} has no quota", "Name a queue of the quotas' file, or add it there.")
    return Job(
        id=row.needed("job_id"),
        submit=row.number("submit_s"),
        duration=row.number("duration_s"),
        gpus=gpus,
        cpu_milli=round(row.number("cpus", 0.0) * 1000),
        gpu_milli=milli,
        model_type=row.text("model_type"),
        flavors=flavors,
        queue=queue,
        user=row.text("user"),
        priority=row.whole("priority", 0, -1_000_000_000),
    )


def _quota(row: Row) -> Quota:
    nominal = row.number("nominal")
    lending = _limit(row, "lending_limit")
    if lending is not None and lending > nominal:
        row.place("lending_limit").refuse(
            f"{lending:g} is more than nominal, {nominal:g}", "Lend what is there at most."
        )
    return Quota(
        queue=row.needed("queue"),
        cohort=row.text("cohort"),
        flavor=row.needed("flavor"),
        resource=row.one_of("resource", ("gpu", "cpu"), "gpu"),
        nominal=nominal,
        borrowing_limit=_limit(row, "borrowing_limit"),
        lending_limit=lending,
        reclaim_within_cohort=row.one_of("reclaim_within_cohort", RECLAIM, "Never"),
        within_cluster_queue=row.one_of("within_cluster_queue", WITHIN, "Never"),
        queueing_strategy=row.one_of("queueing_strategy", STRATEGIES, "BestEffortFIFO"),
    )


def _limit(row: Row, column: str) -> float | None:
    return row.number(column) if row.text(column) else None


def _refuse_flavor(row: Row, column: str, given: str, known: Iterable[str]) -> None:
    remedy = f"Known flavors: {', '.join(sorted(known))}. Correct it, or add a node of that flavor."
    row.place(column).refuse(f"{shown(given)} is no flavor that is known", remedy)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    return partial.replace(path)


def _job_cells(job: Job) -> tuple[object, ...]:
    return (
        job.id, plain(job.submit), plain(job.duration), job.gpus, plain(job.cpu_milli / 1000) if job.cpu_milli else "",
        job.gpu_milli if job.gpu_milli != WHOLE else "", job.model_type, "|".join(job.flavors), job.queue, job.user,
        job.priority or "",
    )  # fmt: skip


def _node_cells(node: Node) -> tuple[object, ...]:
    cores = plain(node.cpu_milli / 1000) if node.cpu_milli else ""
    return node.id, node.gpus, node.flavor, cores, plain(node.memory_bytes / MIB) if node.memory_bytes else ""


def _quota_cells(quota: Quota) -> tuple[object, ...]:
    limits = ("" if limit is None else plain(limit) for limit in (quota.borrowing_limit, quota.lending_limit))
    rules = quota.reclaim_within_cohort, quota.within_cluster_queue, quota.queueing_strategy
    return quota.queue, quota.cohort, quota.flavor, quota.resource, plain(quota.nominal), *limits, *rules


def _speed_cells(speeds: Speeds, flavors: Sequence[str]) -> Iterator[Sequence[object]]:
    for (model, gpus), known in sorted(speeds.known.items()):
        yield model, gpus, *(plain(known[flavor]) if flavor in known else "" for flavor in flavors)


def plain(value: float) -> str:
    """A number as one writes it: 30, not 30.0."""
    return str(int(value)) if value == int(value) else repr(value)
