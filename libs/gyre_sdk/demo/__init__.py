"""`gyre demo`: two laps of the loop on a real model, done by the same calls that everybody has."""

from __future__ import annotations

from pathlib import Path

from gyre_sdk.cli.base import Exit
from gyre_sdk.demo import laps, people, plan, report, rows, stage
from gyre_sdk.demo.show import Show


def main(*, data: Path | None, base: str, seed: int, fast: bool, shuffle_labels: bool) -> int:
    """Runs the demo and returns the exit code: 0 promoted (or fast, and everything ran), 4 refused by the gate."""
    show = Show()
    wanted = plan.make(data=data, base=base, seed=seed, fast=fast, shuffle_labels=shuffle_labels)
    story = stage.set_up(wanted, show)
    rows.import_rows(story)
    laps.import_base(story)
    laps.first_lap(story)
    laps.measure(story)
    laps.deploy(story)
    people.ask(story)
    people.give_feedback(story)
    people.review(story)
    laps.second_lap(story)
    people.ask_again(story)
    promoted = report.tell(story)
    if promoted or fast:
        return Exit.OK
    return Exit.REFUSED
