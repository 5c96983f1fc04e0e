"""Slurm's accounting as jobs.

    sacct --allusers --allocations --parsable2 --starttime 2026-11-01 --endtime now \\
          --format JobIDRaw,Submit,Start,ElapsedRaw,State,AllocTRES,User,Partition > jobs.txt

Fields and states are those of Slurm's manual page sacct(1), version 22.05. Slurm's computed priority is not taken over:
it is made of age and fair share, which the replayed policy has its own word on. Steps (`41.batch`) belong to their job.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from services.gpu_scheduler.simulation.model import Job
from services.gpu_scheduler.simulation.tables import Place, Row, read_table, shown

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip
LIVING = frozenset({
    "COMPLETING", "CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD",
    "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
})  # fmt: skip
NO_TIME = ("", "Unknown", "None")
# `[days-]hours:minutes:seconds[.fraction]`, or minutes and seconds alone.
ELAPSED = re.compile(r"(?:(?:(?P<d>\d{1,6})-)?(?P<h>\d{1,9}):)?(?P<m>\d{1,9}):(?P<s>\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
AMOUNT = re.compile(r"\d{1,9}(?:\.\d{1,9})?[KMGTP]?", re.ASCII)  # memory comes with its unit
GPU = "gres/gpu"


def from_sacct(files: Sequence[Path]) -> tuple[list[Job], Counter[str]]:
    """Jobs with times since the epoch, and what was left out: reason → how many. Raises: BadTrace."""
    jobs: list[Job] = []
    left_out: Counter[str] = Counter()
    for path in files:
        table = read_table(path, ("Submit", "State", "AllocTRES"), delimiter="|")
        id_column = _either(path, table.columns, "JobIDRaw", "JobID")
        elapsed_column = _either(path, table.columns, "ElapsedRaw", "Elapsed")
        for row in table.rows:
            if "." in row.text(id_column):
                continue
            job = _job(row, id_column, elapsed_column)
            if isinstance(job, str):
                left_out[job] += 1
            else:
                jobs.append(job)
    return jobs, left_out


def elapsed_seconds(place: Place, given: str) -> float:
    """`1-02:03:04` and `02:03` as seconds. Raises: BadTrace."""
    found = ELAPSED.fullmatch(given)
    if found is None:
        place.refuse(f"{shown(given)} is no elapsed time", "It is written as D-HH:MM:SS, HH:MM:SS or MM:SS.")
    days, hours, minutes = (int(found[part] or 0) for part in "dhm")
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(found["s"])


def _job(row: Row, id_column: str, elapsed_column: str) -> Job | str:
    """The job, or why it is left out."""
    state = row.needed("State").split()[0]  # `CANCELLED by 1000`
    if state in LIVING:
        return "not ended"
    if state not in ENDED:
        row.place("State").refuse(
            f"{shown(state)} is no state of Slurm", "Ask sacct with --parsable2, which cuts nothing."
        )
    if row.text("Submit") in NO_TIME:
        return "no time of submission"
    if elapsed_column == "ElapsedRaw":
        seconds = row.number("ElapsedRaw")
    else:
        seconds = elapsed_seconds(row.place("Elapsed"), row.needed("Elapsed"))
    if not seconds:
        return "never ran"
    cores, cards, flavors = _allocated(row)
    queue, user = row.text("Partition").split(",")[0], row.text("User")
    return Job(row.needed(id_column), _time(row), seconds, cards, cores * 1000, flavors=flavors, queue=queue, user=user)


def _allocated(row: Row) -> tuple[int, int, tuple[str, ...]]:
    """Cores, cards, and the cards' type where Slurm knows one: `cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=64G,node=1`."""
    amounts: dict[str, str] = {}
    for item in filter(None, row.text("AllocTRES").split(",")):
        name, _, amount = item.partition("=")
        if not AMOUNT.fullmatch(amount):
            row.place("AllocTRES").refuse(f"{shown(item)} has no amount", "It is written as cpu=8,gres/gpu=2,mem=64G.")
        amounts[name] = amount
    typed = {name.removeprefix(f"{GPU}:"): amount for name, amount in amounts.items() if name.startswith(f"{GPU}:")}
    cores = _whole(row, amounts.get("cpu", "0"))
    cards = _whole(row, amounts[GPU]) if GPU in amounts else sum(_whole(row, amount) for amount in typed.values())
    return cores, cards, tuple(typed) if len(typed) == 1 else ()


def _whole(row: Row, amount: str) -> int:
    if not amount.isdecimal():
        row.place("AllocTRES").refuse(f"{shown(amount)} is no whole number", "Cores and cards are counted whole.")
    return int(amount)


def _time(row: Row) -> float:
    """Times of sacct are local and name no zone; epochs come with SLURM_TIME_FORMAT=%s."""
    given = row.text("Submit")
    if given.isdecimal():
        return row.number("Submit")
    try:
        return datetime.fromisoformat(given).replace(tzinfo=UTC).timestamp()
    except ValueError:
        row.place("Submit").refuse(f"{shown(given)} is no time", "It is written as 2026-11-05T09:00:00.")


def _either(path: Path, columns: Sequence[str], first: str, second: str) -> str:
    if first in columns:
        return first
    if second in columns:
        return second
    remedy = f"Ask sacct with --format {first},Submit,ElapsedRaw,State,AllocTRES,User,Partition."
    Place(path.name, 1).refuse(f"column {first} or {second} is missing", remedy)
