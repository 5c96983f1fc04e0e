"""`gyre models compare` and `comparisons`: quality against cost, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gyre.evaluation.v1.comparison_pb2 import Candidate, Comparison, FlavorCosts

FLAVOR_TITLES = ("FLAVOR", "CANDIDATE", "$/M TOKENS", "SCORE", "FRONT")
TITLES = (
    "CANDIDATE", "ENGINE", "SIZE", "MEMORY", "PERPLEXITY", "SCORE", "95 % INTERVAL", "DIFFERENCE", "WITHIN", "FIRST TOKEN",
    "ALONE", "TOGETHER", "$/M TOKENS", "FRONT", "NOTE",
)  # fmt: skip


@click.command(cls=GyreCommand)
@click.argument("version", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.option("--suite", required=True, shell_complete=complete("suites"))
@click.option("--quantisation", "quantisations", multiple=True, help="Repeat it. [default: Q8_0 Q6_K Q5_K_M Q4_K_M]")
@click.option("--baseline", default="F16", show_default=True, help="What the others are compared with.")
@click.option("--metric", type=click.Choice(["exact", "valid_json", "text"]), default="exact", show_default=True)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=5.0,
    show_default=True,
    help="Points that the score may be lower.",
)
@click.option(
    "--calibrate",
    default="",
    metavar="DATASET[@VERSION]",
    help="Conversations that weigh the rounding; AWQ and GPTQ need some.",
)
@click.option("--queue", default="", help="Queue that its evaluations wait in.")
@click.option("--flavor", default="", help="Flavor to measure on, for instance cpu. [default: wherever there is room]")
@click.option("--wait/--no-wait", default=True, show_default=True)
def compare(
    version: str, suite: str, quantisations: tuple[str, ...], baseline: str, metric: str, margin: float,
    calibrate: str, queue: str, flavor: str, wait: bool,
) -> None:  # fmt: skip
    """Make and measure quantisations of a version, and recommend the cheapest that is good enough.

    Examples:
    gyre models compare hotline@2 --suite hotline
    gyre models compare hotline@2 --suite hotline --calibrate hotline@1 --margin 2
    gyre models compare hotline --suite hotline --quantisation Q8_0 --quantisation Q4_K_M --metric text
    gyre models compare hotline@2 --suite hotline --flavor cpu-large
    gyre models compare hotline@2 --suite hotline --quantisation Q4_K_M --quantisation AWQ --calibrate hotline@1
    """
    from gyre_sdk.cli import output, progress
    from gyre_sdk.names import last

    with connect() as gyre:
        comparison = gyre.comparisons.create(
            gyre.models.version_name(version),
            gyre.suites.name(suite),
            quantisations=quantisations,
            baseline=baseline,
            metric=metric,
            margin=margin / 100,
            calibration=gyre.datasets.version_name(calibrate) if calibrate else "",
            queue=queue,
            only_flavor=f"flavors/{last(flavor)}" if flavor else "",
        )
        if wait:
            with progress.Watching(line, share) as watching:
                comparison = gyre.comparisons.wait(comparison.name, on_update=watching)
        flavors = gyre.comparisons.flavor_costs(comparison.name) if wait else []
    if OPTIONS.json or not wait:
        output.show_item(comparison)
    else:
        show(comparison)
        show_flavors(comparison, flavors)


@click.command(cls=GyreCommand)
@click.argument("comparison", default="", shell_complete=complete("comparisons"))
@click.option("--cancel", is_flag=True, help="Stop it.")
def comparisons(comparison: str, cancel: bool) -> None:
    """List the comparisons, or show one as a table.

    Examples:
    gyre models comparisons
    gyre models comparisons 3
    """
    from gyre_sdk import names
    from gyre_sdk.cli import output

    with connect() as gyre:
        if not comparison:
            page = gyre.comparisons.page()
            columns: list[output.Column] = [
                ("#", output.text("number")),
                ("OF", lambda item: names.short(item.version) if item.version else f"{len(item.candidates)} models"),
                ("SUITE", output.short("suite")),
                ("STATE", output.state()),
                ("RECOMMENDED", output.short("recommended")),
                ("CREATED", output.age()),
            ]
            output.show_items("comparisons", page.items, columns, page.total_size)
            return
        found = gyre.comparisons.find(comparison)
        if cancel:
            found = gyre.comparisons.cancel(found.name)
        flavors = gyre.comparisons.flavor_costs(found.name)
    if OPTIONS.json:
        output.show_item(found)
    else:
        show(found)
        show_flavors(found, flavors)


def show(comparison: Comparison) -> None:
    from gyre_sdk import names
    from gyre_sdk.cli import output

    output.show_table(TITLES, [_row(it, comparison) for it in comparison.candidates])
    if comparison.recommended:
        click.echo(f"\nRecommended: {names.short(comparison.recommended)}. {comparison.recommendation_message}")
    else:
        click.echo(f"\n{line(comparison)}. {comparison.failure_message}".rstrip())


def show_flavors(comparison: Comparison, flavors: Sequence[FlavorCosts]) -> None:
    """Nothing is reckoned from a price alone: how fast a flavor is, is known once something was measured there."""
    from gyre_sdk import names
    from gyre_sdk.cli import output

    rows = [
        [names.last(flavor.flavor), cost.quantisation if comparison.version else names.short(cost.variant),
         f"{cost.million_tokens_microusd / 1e6:.3f}", f"{cost.score:.1%}", "yes" if cost.on_front else ""]
        for flavor in flavors
        for cost in flavor.costs
    ]  # fmt: skip
    rows += [[names.last(it.flavor), "not measured there", "", "", ""] for it in flavors if not it.costs]
    click.echo("")
    output.show_table(FLAVOR_TITLES, rows)
    if unmeasured := [it for it in flavors if not it.costs]:
        what = names.short(comparison.version) if comparison.version else "MODEL"
        suite, flavor = names.last(comparison.suite), names.last(unmeasured[0].flavor)
        click.echo(f"\nTo measure there: gyre models compare {what} --suite {suite} --flavor {flavor}")


def _row(candidate: Candidate, comparison: Comparison) -> list[Any]:
    """Differences and the front are known once all are measured."""
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    state = messages.enum_name(candidate, "state")
    if state != "MEASURED":
        blank = [""] * (len(TITLES) - 3)
        return [_called(candidate, comparison), output.coloured(state), *blank, candidate.failure_message]
    cost, score = candidate.cost, candidate.score
    judged, is_baseline = (
        bool(comparison.recommended),
        comparison.baseline in (candidate.quantisation, candidate.variant),
    )
    return [
        _called(candidate, comparison) + (" + calibration" if candidate.calibrated else ""),
        cost.engine or "LLAMA_CPP",
        output.size(candidate.size_bytes),
        output.size(cost.memory_bytes),
        f"{cost.perplexity:.4f}",
        f"{score.value:.1%}",
        f"{score.lower:.1%} – {score.upper:.1%}",
        f"{_points(candidate.difference)} ({_range(candidate)})" if judged and not is_baseline else "",
        ("yes" if candidate.within_margin else "no") if judged else "",
        f"{cost.time_to_first_token_p50_ms:.0f} ms",
        f"{cost.single_tokens_per_second:.0f}/s",
        f"{candidate.tokens_per_second:.0f}/s",
        f"{candidate.million_tokens_microusd / 1e6:.3f}",
        "yes" if candidate.on_front else "",
        candidate.note,
    ]


def _called(candidate: Candidate, comparison: Comparison) -> str:
    from gyre_sdk import names

    return candidate.quantisation if comparison.version else names.short(candidate.variant)


def _points(share: float) -> str:
    return f"{share * 100:+.1f}"


def _range(candidate: Candidate) -> str:
    return f"{_points(candidate.difference_lower)} to {_points(candidate.difference_upper)}"


def line(comparison: Comparison) -> str:
    """`comparison #3 RUNNING · 2/5 measured · Q6_K evaluating`."""
    from gyre_sdk import messages

    states = {_called(it, comparison): messages.enum_name(it, "state") for it in comparison.candidates}
    busy = [f"{name} {state.lower()}" for name, state in states.items() if state in ("QUANTISING", "EVALUATING")]
    parts = [f"comparison #{comparison.number} {messages.enum_name(comparison, 'state')}"]
    parts.append(f"{sum(state == 'MEASURED' for state in states.values())}/{len(states)} measured")
    return " · ".join([*parts, *busy])


def share(comparison: Comparison) -> float:
    from gyre_sdk import messages

    ended = [it for it in comparison.candidates if messages.enum_name(it, "state") in ("MEASURED", "FAILED")]
    return len(ended) / len(comparison.candidates)
