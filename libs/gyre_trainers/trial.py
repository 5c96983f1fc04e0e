"""A dry run: `python -m gyre_trainers.trial SPEC` takes the first ten steps of a run and leaves what they show in
result.json beside the spec.

The steps are the run's own: its rows, its collator, its schedule. Nothing is told to the scheduler and nothing is left
in the store. Ends as run.py does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from gyre_kit.storage import ObjectStore
from pydantic import Field

from gyre_trainers import exits
from gyre_trainers.exits import BadInput, Finished, Unwell
from gyre_trainers.health import Alarm
from gyre_trainers.report import Reporter, finite
from gyre_trainers.run import bound_threads, fetch, fit_to_the_end, write_warnings_for_people
from gyre_trainers.spec import Spec, read_spec

STEPS: Final = 10
RESULT: Final = "result.json"
LOSSES: Final = ("loss", "loss/policy_avg")  # PPO's name for what its policy learns from


class TrialSpec(Spec):
    estimate: dict[str, Any] = Field(default={}, description="The planner's, for those who read the workload.")


def main(argv: list[str]) -> int:
    """Tries what the spec at `argv[1]` says and returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    write_warnings_for_people()
    if len(argv) != 2:
        print("usage: python -m gyre_trainers.trial SPEC", file=sys.stderr)
        return exits.BAD_INPUT
    try:
        spec = read_spec(Path(argv[1]), TrialSpec)
        bound_threads(spec.threads)
        report = attempt(spec)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.BAD_INPUT
    Path(argv[1]).with_name(RESULT).write_text(json.dumps(report, ensure_ascii=False, allow_nan=False))
    return exits.DONE


def attempt(spec: Spec) -> dict[str, Any]:
    """The report. An alarm that would end the run ends the trial, and is in it. Raises: BadInput."""
    rarely = spec.hyperparameters.model_copy(update={"checkpoint_every": STEPS + 1})  # a checkpoint goes to the store
    spec = spec.model_copy(update={"hyperparameters": rarely})
    listener = Listener(spec)
    try:
        with tempfile.TemporaryDirectory(prefix="gyre-trial-") as folder:
            return try_out(spec, listener, Path(folder))
    finally:
        listener.close()


def try_out(spec: Spec, listener: Listener, scratch: Path) -> dict[str, Any]:
    store = ObjectStore.from_url(spec.object_store)
    paths = asyncio.run(fetch(spec, store, scratch))
    from gyre_trainers import base, checks, fit, rendered

    paths["output"] = scratch / "output"  # what the Trainer writes goes with the trial
    job = fit.Job(spec=spec, store=store, reporter=listener, scratch=scratch, **paths)
    checks.check(job)
    tokenizer = base.load_tokenizer(job.base)
    shown = {"samples": rendered.samples(job, tokenizer), "tokens": rendered.token_counts(job, tokenizer)}
    try:
        fit_to_the_end(job)
    except Finished:  # from a loop of our own; the Trainer's takes it for its end
        pass
    except Unwell as error:
        logging.getLogger("gyre_trainers.trial").warning("%s", error)
    return {**shown, **listener.report()}


class Listener(Reporter):
    """Keeps what the loop tells, and ends it after STEPS. It is never started, so nobody else hears."""

    def __init__(self, spec: Spec, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(spec)
        self._clock = clock
        self._times: list[float] = []  # of the beginning and of each step's end
        self._seen: list[dict[str, float]] = []
        self._told: list[Alarm] = []
        self._total = 0

    def progress(self, step: int, total_steps: int, resumed_from_step: int | None = None) -> None:
        self._total = total_steps
        if resumed_from_step is not None:
            self._times = [self._clock()]

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Raises: Finished after the last step of the trial."""
        self._times.append(self._clock())
        self._seen.append(finite(values))
        if len(self._seen) >= STEPS:
            raise Finished

    def alarm(self, alarm: Alarm) -> None:
        self._told.append(alarm)

    def close(self) -> None:
        self._channel.close()

    def report(self) -> dict[str, Any]:
        """A loss that is no number is null; what a trial of one step cannot know is null too."""
        first, *later = [end - begin for begin, end in pairwise(self._times)] or [0.0]
        speeds = [seen["tokens_per_second"] for seen in self._seen if "tokens_per_second" in seen]
        return {
            "steps": len(self._seen),
            "total_steps": self._total,
            "losses": [next((seen[name] for name in LOSSES if name in seen), None) for seen in self._seen],
            "first_step_seconds": first,
            "step_seconds": median(later) if later else None,
            "tokens_per_second": median(speeds) if speeds else None,
            "peak_memory_bytes": max((int(seen["memory_bytes"]) for seen in self._seen), default=None),
            "training_seconds": predicted(first, later, self._total),
            "alarms": [
                {"kind": told.kind, "action": told.action, "step": told.step, "detail": told.detail}
                for told in self._told
            ],
        }


def predicted(first: float, later: list[float], total: int) -> dict[str, float] | None:
    """Seconds of all steps, without checkpoints and publishing: `low` and `high` if the rest goes as the fastest and as
    the slowest step after the first. None if there was no such step."""
    if not later:
        return None
    ways = {"low": min(later), "expected": median(later), "high": max(later)}
    return {way: first + (total - 1) * seconds for way, seconds in ways.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv))
