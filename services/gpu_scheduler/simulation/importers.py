"""Other people's traces as ours.

Philly: `cluster_job_log` and `cluster_machine_list`, as described by github.com/msr-fiddle/philly-traces.
openb: `openb_pod_list_*.csv` and `openb_node_list_*.csv` of Alibaba's cluster-trace-gpu-v2023 (FGD, ATC '23).
sacct: what Slurm's accounting prints, see `sacct.py`.
What cannot be replayed is left out and counted by reason; what cannot be understood is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from services.gpu_scheduler.simulation.model import WHOLE, Job, Node, Trace
from services.gpu_scheduler.simulation.sacct import from_sacct
from services.gpu_scheduler.simulation.tables import Place, Row, read_bytes, read_table, shown

MOST_JSON = 1 << 30  # bytes; Philly's log has some 80 MB
MIB = 1 << 20
PUBLISHED = "Give cluster_job_log as it was published."
NO_MODEL = ("", "nan")
PODS = (
    "name", "cpu_milli", "num_gpu", "gpu_milli", "gpu_spec", "qos", "creation_time", "deletion_time", "scheduled_time",
)  # fmt: skip
NODES = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
MACHINES = ("machineId", "number of GPUs", "single GPU mem")


@dataclass(frozen=True)
class Imported:
    """`left_out`: reason → how many jobs."""

    trace: Trace
    left_out: Mapping[str, int] = field(default_factory=dict)


def from_philly(files: Sequence[Path]) -> Imported:
    """The job log, and the list of machines if it is among `files`. A job's attempts are one stretch of work here.

    Cards have no model in this trace: a flavor is their memory (`gpu-24GB`), and jobs accept any. Queues are virtual
    clusters. Times have no zone: the hour that a change of clocks took or gave is not put right. Raises: BadTrace.
    """
    logs = [path for path in files if _begins_like_json(path)]
    nodes = [_machine(row) for path in files if path not in logs for row in read_table(path, MACHINES).rows]
    jobs: list[Job] = []
    left_out: Counter[str] = Counter()
    for path in logs:
        for index, entry in enumerate(_entries(path)):
            place = Place(path.name, 0, f"job {index + 1}")
            try:
                job = _philly_job(place, entry)
            except (AttributeError, KeyError, TypeError):
                place.refuse("it is not made as the log's jobs are", PUBLISHED)
            if isinstance(job, str):
                left_out[job] += 1
            else:
                jobs.append(job)
    return _imported(files, jobs, nodes, left_out)


def from_openb(files: Sequence[Path]) -> Imported:
    """Pods and nodes, told apart by their columns. A pod's queue is its quality of service. Raises: BadTrace."""
    jobs: list[Job] = []
    nodes: list[Node] = []
    left_out: Counter[str] = Counter()
    for path in files:
        if "sn" in read_table(path, ()).columns:
            nodes += [_openb_node(row) for row in read_table(path, NODES).rows]
            continue
        for row in read_table(path, PODS).rows:
            job = _openb_job(row)
            if job is None:
                left_out["never scheduled, or not deleted"] += 1
            else:
                jobs.append(job)
    return _imported(files, jobs, nodes, left_out)


def from_slurm(files: Sequence[Path]) -> Imported:
    """Raises: BadTrace."""
    jobs, left_out = from_sacct(files)
    return _imported(files, jobs, [], left_out)


IMPORTERS: Final[Mapping[str, Callable[[Sequence[Path]], Imported]]] = {
    "philly": from_philly,
    "openb": from_openb,
    "sacct": from_slurm,
}


def _imported(files: Sequence[Path], jobs: list[Job], nodes: list[Node], left_out: Mapping[str, int]) -> Imported:
    """By time of submission, which begins at 0; names are unique, or the trace would be refused when it is read."""
    names = ", ".join(path.name for path in files)
    if not jobs:
        why = "; ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items())) or "none was found"
        Place(names).refuse(f"no job of it can be replayed ({why})", "Import a longer or an older stretch.")
    for twice, count in Counter(job.id for job in jobs).items():
        if count > 1:
            Place(names).refuse(
                f"job {shown(twice)} is there {count} times", "Give each file once; sacct: no --duplicates."
            )
    begin = min(job.submit for job in jobs)
    jobs = [replace(job, submit=job.submit - begin) for job in sorted(jobs, key=lambda job: job.submit)]
    return Imported(Trace(jobs, nodes), dict(sorted(left_out.items())))


# Philly


def _begins_like_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
    except OSError as error:
        Place(path.name).refuse(f"it cannot be read: {error.strerror}", "Check its name and its rights.")


def _entries(path: Path) -> list[Any]:
    try:
        entries = json.loads(read_bytes(path, MOST_JSON))
    except (UnicodeDecodeError, RecursionError) as error:
        Place(path.name).refuse(f"it is no JSON: {error}", PUBLISHED)
    except json.JSONDecodeError as error:
        Place(path.name, error.lineno).refuse(f"it is no JSON: {error.msg}", PUBLISHED)
    if not isinstance(entries, list):
        Place(path.name).refuse("it is no list of jobs", PUBLISHED)
    return entries


def _philly_job(place: Place, entry: Any) -> Job | str:
    """The job, or why it is left out."""
    if not isinstance(entry, dict) or not isinstance(entry.get("jobid"), str):
        place.refuse("it has no jobid", PUBLISHED)
    submitted = _philly_time(place, entry.get("submitted_time"))
    attempts = entry.get("attempts")
    if submitted is None or not isinstance(attempts, list):
        place.refuse("it has no submitted_time, or no attempts", PUBLISHED)
    if not attempts:
        return "never scheduled"
    seconds, cards = 0.0, 0
    for attempt in attempts:
        start, end = (_philly_time(place, attempt.get(key)) for key in ("start_time", "end_time"))
        if start is None or end is None:
            return "an attempt without begin or end"
        seconds += max(0.0, end - start)
        cards = sum(len(machine["gpus"]) for machine in attempt.get("detail") or ()) or cards
    if not cards:
        return "no card was written down"
    queue, user = (str(entry.get(key) or "") for key in ("vc", "user"))
    return Job(entry["jobid"], submitted, seconds, cards, queue=queue, user=user)


def _philly_time(place: Place, given: Any) -> float | None:
    if given in (None, "", "None"):
        return None
    try:
        return datetime.strptime(given, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except (TypeError, ValueError):
        place.refuse(f"{shown(str(given))} is no time", "It is written as 2017-10-07 01:12:09.")


def _machine(row: Row) -> Node:
    return Node(row.needed("machineId"), row.whole("number of GPUs"), f"gpu-{row.needed('single GPU mem')}")


# openb


def _openb_job(row: Row) -> Job | None:
    if not row.text("scheduled_time") or not row.text("deletion_time"):
        return None
    created, scheduled, deleted = (row.number(f"{what}_time") for what in ("creation", "scheduled", "deletion"))
    if deleted < scheduled:
        row.place("deletion_time").refuse("it is before scheduled_time", "Leave the pod out.")
    cards = row.whole("num_gpu")
    milli = row.whole("gpu_milli", WHOLE) if cards == 1 else WHOLE
    spec = row.text("gpu_spec")
    return Job(
        id=row.needed("name"),
        submit=created,
        duration=deleted - scheduled,
        gpus=cards,
        cpu_milli=row.whole("cpu_milli"),
        gpu_milli=milli if 0 < milli <= WHOLE else row.place("gpu_milli").refuse("it is not 1 to 1000", "Mend it."),
        flavors=() if spec in NO_MODEL else tuple(spec.split("|")),
        queue=row.text("qos"),
    )


def _openb_node(row: Row) -> Node:
    model = row.text("model")
    memory = row.whole("memory_mib") * MIB
    return Node(
        row.needed("sn"), row.whole("gpu"), "cpu" if model in NO_MODEL else model, row.whole("cpu_milli"), memory
    )
