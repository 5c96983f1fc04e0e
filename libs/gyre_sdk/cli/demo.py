"""`gyre demo`."""

from __future__ import annotations

from pathlib import Path

import click

from gyre_sdk.cli.base import GyreCommand


@click.command(cls=GyreCommand)
@click.option(
    "--data", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Your own JSONL, CSV or Parquet."
)
@click.option("--base", default="bundled://smollm2", show_default=True, help="Model to start from.")
@click.option("--seed", default=7, show_default=True, type=int)
@click.option("--fast", is_flag=True, help="At most five minutes; the verdict does not decide the exit code.")
@click.option("--shuffle-labels", is_flag=True, help="Spoil the corrections: the gate must refuse the second lap.")
@click.pass_context
def demo(ctx: click.Context, data: Path | None, base: str, seed: int, fast: bool, shuffle_labels: bool) -> None:
    """The whole loop on a real model: import, train, evaluate, deploy, ask, give feedback, review, train again, promote.

    It starts the platform, shows what it does, and ends with a table: base, lap 1, lap 2. Exit code 4 if the gate
    refused lap 2.

    Examples:
    gyre demo
    gyre demo --fast
    gyre demo --data my-rows.jsonl --seed 11
    """
    from gyre_sdk.demo import main

    ctx.exit(main(data=data, base=base, seed=seed, fast=fast, shuffle_labels=shuffle_labels))
