"""What became of each job, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.gpu_scheduler.simulation.model import Outcome, Replay
from services.gpu_scheduler.simulation.report import waited
from services.gpu_scheduler.simulation.traces import plain

COLUMNS = (
    "policy", "job_id", "queue", "user", "submit_s", "start_s", "end_s", "jct_s", "wait_s", "preemptions", "flavors",
    "nodes", "refusal",
)  # fmt: skip


def write_outcomes(path: Path, replays: Sequence[Replay]) -> None:
    """One line a job and policy, whole or not at all. `flavors`, `nodes`: those that it held, in order, by `|`."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for replay in replays:
            writer.writerows((replay.policy, *_cells(outcome)) for outcome in replay.outcomes)
    partial.replace(path)


def _cells(outcome: Outcome) -> Iterator[object]:
    job, spans, end = outcome.job, outcome.spans, outcome.end
    yield from (job.id, job.queue, job.user, plain(job.submit), plain(spans[0].start) if spans else "")
    yield from ("", "", "") if end is None else (plain(end), plain(end - job.submit), plain(waited(outcome, end)))
    yield outcome.preemptions
    yield "|".join(dict.fromkeys(span.flavor for span in spans))
    yield "|".join(dict.fromkeys(node for span in spans for node in span.nodes))
    yield outcome.refusal
