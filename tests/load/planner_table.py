"""Prints the tables of docs/explanation/planning.md: what was measured and published beside what the planner says.

python tests/load/planner_table.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

from services.training_scheduler.planning import memory, time
from services.training_scheduler.tests import measured, published

MIB = 2**20
Compared = tuple[bool, float]  # held out, and planned over measured


def main() -> None:
    rows = measured.rows()
    print(
        "| | method | parameters | batch | length | LoRA | again | measured, MiB | planned | ratio | s/step | planned |"
    )
    print("|---|---|---:|---|---:|---:|---|---:|---:|---:|---:|---:|")
    for row in rows:
        planned = memory.need(row.job, row.settings, "cpu").bytes
        seconds = time.step_seconds(row.job, row.settings, time.cpu_speed(2))
        print(
            f"| {'held out' if row.held_out else ''} | {row.job.method} | {row.job.architecture.parameters / 1e6:.0f} M "
            f"| {row.settings.batch} × {row.settings.accumulation} | {row.job.length} | {row.job.rank or ''} "
            f"| {'yes' if row.settings.checkpointing else ''} | {row.peak_bytes / MIB:.0f} | {planned / MIB:.0f} "
            f"| {planned / row.peak_bytes:.2f} | {f'{row.step_seconds:.1f}' if row.step_seconds else ''} | {seconds:.1f} |"
        )
    summary([(row.held_out, memory.need(row.job, row.settings, "cpu").bytes / row.peak_bytes) for row in rows])
    print("\n| | source | model | method | length | batch | published, GB | planned | ratio |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|")
    for card in published.rows():
        planned = memory.need(card.job, card.settings, "card").bytes
        print(
            f"| {'held out' if card.held_out else ''} | {card.source} | {card.model} | {card.method} | {card.job.length} "
            f"| {card.settings.batch} | {card.published:.1f} | {planned / 1e9:.1f} | {planned / 1e9 / card.published:.2f} |"
        )
    summary(
        [(it.held_out, memory.need(it.job, it.settings, "card").bytes / 1e9 / it.published) for it in published.rows()]
    )


def summary(compared: Iterable[Compared]) -> None:
    compared = list(compared)
    for name, wanted in (("chosen by", False), ("held out", True)):
        ratios = [ratio for held_out, ratio in compared if held_out is wanted]
        over = sum(ratio < 1 for ratio in ratios)
        within = sum(1 <= ratio <= 1.15 for ratio in ratios)
        print(
            f"\n{name}: {len(ratios)} rows, {over} exceeded the figure, {within} within 15 % above; "
            f"ratio {min(ratios):.2f} to {max(ratios):.2f}, mean {sum(ratios) / len(ratios):.2f}",
            end="",
        )
    print()


if __name__ == "__main__":
    main()
