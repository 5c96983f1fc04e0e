"""`gyre deployments shadow` and `fallbacks`: what else may happen to a request than being answered by the split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect
from gyre_sdk.cli.commands import Columns, made

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.deployment_pb2 import Deployment
    from gyre.inference_gateway.v1.shadow_pb2 import ShadowEstimate

SHADOW_COLUMNS: Columns = [
    ("SHADOW", lambda o: lambda item: o.short("variant")(item) or item.upstream_model),
    ("SHARE", lambda o: lambda item: f"{item.percent} %" if item.percent else "off"),
    ("COPIES", lambda o: lambda item: f"{item.count:,}"),
    ("SAY THE SAME", lambda o: lambda item: _percents(item.agreement)),
    ("SIMILARITY", lambda o: lambda item: _percents(item.similarity)),
    ("LENGTH", lambda o: lambda item: _times(item.length_ratio)),
    ("TIME", lambda o: lambda item: _times(item.latency_ratio)),
    ("FAILED", lambda o: lambda item: _percents(item.error_rate)),
]
PAIR_COLUMNS: Columns = [
    ("WHEN", lambda o: o.age()),
    ("SIMILARITY", lambda o: lambda item: "failed" if item.failure_reason else f"{item.similarity:.0%}"),
    ("ASKED", lambda o: lambda item: _cut(item.prompt)),
    ("LIVE", lambda o: lambda item: _cut(item.answer)),
    ("SHADOW", lambda o: lambda item: item.failure_reason or _cut(item.shadow_answer)),
]
LONGEST = 60  # characters of a text in a table


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
@click.option("--variant", metavar="MODEL@VERSION:VARIANT", help="What to try.", shell_complete=complete("models"))
@click.option("--upstream", metavar="URL", help="Or an OpenAI-compatible engine that already runs.")
@click.option("--upstream-model", default="", help="The model's name there.")
@click.option("--upstream-key-ref", default="", metavar="SETTING", help="Variable with its key: GYRE_UPSTREAM_KEY…")
@click.option("--region", default="", help="Where a rented engine computes, for example eu.")
@click.option("--percent", default=10, show_default=True, type=click.IntRange(1, 100), help="Of the requests.")
@click.option("--off", is_flag=True, help="End every shadow of this deployment.")
@click.option("--pairs", is_flag=True, help="Show the newest answers that differ, side by side.")
def shadow(
    name: str, variant: str | None, upstream: str | None, percent: int, off: bool, pairs: bool, **fields: Any
) -> None:
    """Give a model copies of real requests and compare its answers, which nobody gets; or show how it compares.

    Examples:
    gyre deployments shadow hotline --variant hotline-bot@2:q8-0 --percent 20
    gyre deployments shadow hotline
    gyre deployments shadow hotline --pairs
    gyre deployments shadow hotline --off
    """
    from gyre_sdk.cli import output
    from gyre_sdk.resources.serving import target

    if sum(map(bool, (variant, upstream, off, pairs))) > 1:
        raise click.UsageError("Give one of --variant, --upstream, --off and --pairs, or none to see how it compares.")
    with connect() as gyre:
        if off:
            deployment = gyre.shadows.stop(name)
            _tell(deployment, f"The shadows of {name} end. What was compared stays: gyre deployments shadow {name}")
        elif variant or upstream:
            spec = target(gyre.models.variant_name(variant)) if variant else target(upstream_url=upstream, **fields)
            deployment = gyre.shadows.set(name, spec, percent)
            _tell(deployment, f"It gets {percent} % of the requests once it is up: gyre deployments shadow {name}")
        elif pairs:
            found = [gyre.shadows.pairs(each.name, only_differing=True).items for each in gyre.shadows.of(name)]
            output.show_items("pairs", [pair for some in found for pair in some], made(PAIR_COLUMNS))
        else:
            output.show_items("shadows", gyre.shadows.of(name), made(SHADOW_COLUMNS))


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
@click.argument("others", nargs=-1, shell_complete=complete("deployments"))
@click.option("--after", type=click.FloatRange(0, 600), help="Also after so many seconds without a first byte; 0: not.")
@click.option("--none", is_flag=True, help="Take all fallbacks away.")
def fallbacks(name: str, others: tuple[str, ...], after: float | None, none: bool) -> None:
    """Say which deployments answer, in this order, where none of NAME's own targets can.

    Their answers have a header that says so, `x-gyre-fallback`, and are billed by their prices.

    Examples:
    gyre deployments fallbacks hotline hotline-small rented-big --after 5
    gyre deployments fallbacks hotline --none
    """
    changes: dict[str, Any] = {}
    if others or none:
        changes["fallbacks"] = [] if none else list(others)
    if after is not None:
        changes["fallback_after"] = f"{after:g}s"
    if not changes or (none and others):
        raise click.UsageError("Name the deployments that stand in, or give --after or --none.")
    with connect() as gyre:
        deployment = gyre.deployments.update(name, **changes)
    _tell(deployment, f"{name} falls back on {', '.join(deployment.fallbacks) or 'nothing'}.")


def _tell(deployment: Deployment, sentence: str) -> None:
    """What came of it, for people or for programs."""
    from gyre_sdk.cli import output

    if OPTIONS.json:
        output.show_item(deployment)
    else:
        click.echo(sentence, err=True)


def _percents(estimate: ShadowEstimate) -> str:
    """`83 % (79–87)`."""
    if not estimate.count:
        return "not known"
    return f"{estimate.value:.0%} ({estimate.low * 100:.0f}–{estimate.high * 100:.0f})"


def _times(estimate: ShadowEstimate) -> str:
    """`1.3 × (1.2–1.4)`."""
    if not estimate.count:
        return "not known"
    return f"{estimate.value:.2f} × ({estimate.low:.2f}–{estimate.high:.2f})"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
