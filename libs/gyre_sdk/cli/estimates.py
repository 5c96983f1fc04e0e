"""A plan of a run for people: a line for each flavor, then what memory is for and what the planner changed."""

from __future__ import annotations

from collections.abc import Iterable

import click
from gyre.training_scheduler.v1.run_pb2 import Estimate, FlavorEstimate, SettingChoice

from gyre_sdk import messages, names
from gyre_sdk.cli import output
from gyre_sdk.cli.base import OPTIONS

TITLES = ["FLAVOR", "FITS", "MEMORY", "OF", "TIME", "COST", "TOKENS/S", "WHY"]


def show(estimate: Estimate) -> None:
    if OPTIONS.json:
        output.show_json(messages.to_json(estimate))
        return
    output.show_table(TITLES, (_line(flavor) for flavor in estimate.flavors))
    click.echo(f"\n{names.short(estimate.flavor)} would be taken, for {estimate.steps} steps. Its memory:")
    output.show_pairs((part.term.lower(), output.size(part.bytes)) for part in estimate.parts)
    if estimate.choices:
        click.echo("\nChanged so that it fits:")
        output.show_pairs((f"{choice.setting} = {choice.value}", choice.message) for choice in estimate.choices)


def _line(flavor: FlavorEstimate) -> list[str]:
    has_memory = flavor.memory_bytes > 0
    return [
        names.short(flavor.flavor),
        "yes" if flavor.fits else "no",
        output.size(flavor.memory_bytes) if has_memory else "",
        output.size(flavor.available_bytes) if has_memory else "",
        output.duration(flavor.seconds) if flavor.fits else "",
        output.money(flavor.cost_microusd) if flavor.fits else "",
        f"{flavor.tokens_per_second:,.0f}" if flavor.fits else "",
        _why(flavor),
    ]


def _why(flavor: FlavorEstimate) -> str:
    if not flavor.fits:
        return f"{flavor.reason}. {flavor.remedy.message}".rstrip(" .") + "."
    marks = [mark for mark in ("fastest", "cheapest") if getattr(flavor, mark)]
    return ", ".join([*marks, *_changes(flavor.choices)])


def _changes(choices: Iterable[SettingChoice]) -> list[str]:
    return [f"{choice.setting} = {choice.value}" for choice in choices]
