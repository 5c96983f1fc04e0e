"""The process in which the service has a what-if replayed: one line of JSON in, one out.

`python -m services.gpu_scheduler.simulation.child MEMORY_BYTES CPU_SECONDS`. It bounds itself before it reads anything,
and ends when its standard input does: a service that is killed leaves no replay behind.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Callable
from typing import Any

from services.gpu_scheduler.simulation import engine
from services.gpu_scheduler.simulation.model import Job, Node, Options, Quota, Replay, Trace
from services.gpu_scheduler.simulation.report import report_of

OUT_OF_MEMORY = 3  # exit code
ABANDONED = 4
NICENESS = 10


def answer(question: dict[str, Any], replay: Callable[[Trace, str, Options], Replay]) -> list[dict[str, Any]]:
    """A report for each of the question's `bounds`, before and after."""
    jobs = [_job(cells) for cells in question["jobs"]]
    reports = []
    for bounds in question["bounds"]:
        nodes = [Node(*cells) for cells in bounds["nodes"]]
        trace = Trace(jobs, nodes, [Quota(*cells) for cells in bounds["quotas"]])
        reports.append(report_of(replay(trace, question["policy"], Options()), trace))
    return reports


def main(replay: Callable[[Trace, str, Options], Replay] = engine.replay) -> None:
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    os.nice(NICENESS)
    try:
        question = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_our_parent, daemon=True).start()
        print(json.dumps(answer(question, replay)), flush=True)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _end_with_our_parent() -> None:
    while os.read(0, 1024):  # not by sys.stdin, whose lock would keep the interpreter from ending
        pass
    os._exit(ABANDONED)


def _job(cells: list[Any]) -> Job:
    job = Job(*cells)
    object.__setattr__(job, "flavors", tuple(job.flavors))  # JSON has no tuples
    return job


if __name__ == "__main__":
    main()
