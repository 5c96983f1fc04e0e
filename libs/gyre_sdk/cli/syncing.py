"""`gyre models sync`: another registry and this one, kept alike."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, GyreGroup, connect

if TYPE_CHECKING:
    from gyre_sdk.mlflow.sync import Entry


@click.group(cls=GyreGroup)
def sync() -> None:
    """Keep another registry and this one alike."""


@sync.command(cls=GyreCommand)
@click.option("--tracking-uri", required=True, envvar="MLFLOW_TRACKING_URI", help="The server's http(s) address.")
@click.option("--model", default="", help="This one alone, as Gyre or as MLflow calls it.")
@click.option("--pull", is_flag=True, help="From MLflow alone; its aliases win.")
@click.option("--push", is_flag=True, help="Into MLflow alone; Gyre's aliases win.")
@click.option("--watch", is_flag=True, help="Go on until interrupted, and tell what changed.")
@click.option("--every", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds between two passes.")
def mlflow(tracking_uri: str, model: str, pull: bool, push: bool, watch: bool, every: float) -> None:
    """Bring models, versions and aliases of an MLflow server into Gyre, and Gyre's into MLflow.

    Safetensors and GGUF are taken; what is pickled is refused, and the report says so. Versions that are known are
    left alone. An alias that both sides moved is a conflict, which --pull or --push decides. Credentials:
    MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

    Examples:
    gyre models sync mlflow --tracking-uri http://mlflow.lan:5000
    gyre models sync mlflow --tracking-uri http://mlflow.lan:5000 --model hotline --push --watch
    """
    from gyre_sdk.mlflow.client import Mlflow
    from gyre_sdk.mlflow.sync import Directions
    from gyre_sdk.mlflow.sync import sync as run_pass

    directions = Directions(pull=pull or not push, push=push or not pull)
    told: set[Entry] = set()
    with connect() as gyre, Mlflow(tracking_uri) as server:
        while True:
            entries = run_pass(gyre, server, directions, model)
            _show([entry for entry in entries if entry not in told], watch)
            told |= set(entries)
            if not watch:
                return
            time.sleep(every)


def _show(entries: list[Entry], watch: bool) -> None:
    from gyre_sdk.cli import output

    if OPTIONS.json:
        if entries or not watch:
            output.show_json({"entries": [dataclasses.asdict(entry) for entry in entries]})
    elif entries:
        rows = [[entry.outcome, entry.what, entry.to or entry.reason, entry.message] for entry in entries]
        output.show_table(["OUTCOME", "WHAT", "TO", ""], rows)
    elif not watch:
        click.echo("Both are alike.")
