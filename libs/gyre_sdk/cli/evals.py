"""`gyre evals`: suites, evaluations and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, Exit, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.pipelines import rule_of

if TYPE_CHECKING:
    from gyre.evaluation.v1.evaluation_pb2 import Evaluation
    from gyre.evaluation.v1.verdict_pb2 import Verdict

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("VARIANT", lambda o: o.short("variant")),
    ("SUITE", lambda o: o.short("suite")),
    ("STATE", lambda o: o.state()),
    ("EXACT", lambda o: lambda item: _score(item, "exact")),
    ("TEXT", lambda o: lambda item: _score(item, "text")),
    ("ROWS", lambda o: o.text("row_count")),
    ("P50", lambda o: lambda item: f"{item.latency_p50_ms:.0f} ms" if item.latency_p50_ms else ""),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]
SUITE_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("DATA", lambda o: o.short("dataset_version")),
    ("SLICES", lambda o: lambda item: " ".join(item.slices) or "all"),
    ("SCORER", lambda o: lambda item: o.messages.enum_name(item.scorer, "kind")),
    ("CREATED", lambda o: o.age()),
]
VERDICT_COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("CANDIDATE", lambda o: o.short("candidate_variant")),
    ("BASELINE", lambda o: o.short("baseline_variant")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def evals() -> None:
    """Suites, evaluations and verdicts: measure what will be served, compare it, and judge it."""


evals.add_command(listing("evaluations", lambda gyre: gyre.evaluations, COLUMNS, "List the evaluations, newest first."))
evals.add_command(showing("EVALUATION", lambda gyre: gyre.evaluations, "evaluations", "Show one evaluation."))
evals.add_command(listing("suites", lambda gyre: gyre.suites, SUITE_COLUMNS, "List the suites.", "suites"))
evals.add_command(listing("verdicts", lambda gyre: gyre.verdicts, VERDICT_COLUMNS, "List the verdicts.", "verdicts"))


@evals.command("create-suite")
@click.argument("name")
@click.option("--data", required=True, metavar="DATASET[@VERSION]", shell_complete=complete("datasets"))
@click.option("--slice", "slices", multiple=True, help="Only rows of this slice; repeat it.")
@click.option("--exact-field", multiple=True, help="The answer is JSON; this field must be equal. Repeat it.")
@click.option("--text-field", default="", help="The answer is JSON; this field's text is scored.")
@click.option("--max-tokens", default=128, show_default=True)
@click.option("--max-rows", default=0, help="Only so many rows.")
def create_suite(
    name: str, data: str, slices: tuple[str, ...], exact_field: tuple[str, ...], text_field: str, max_tokens: int,
    max_rows: int,
) -> None:  # fmt: skip
    """Fix what is measured: the held-out rows of a version, and how an answer is scored.

    Examples:
    gyre evals create-suite hotline --data hotline@1 --exact-field department --exact-field urgency --text-field reply
    """
    from gyre.evaluation.v1.suite_pb2 import Scorer

    from gyre_sdk.cli import output

    scorer = Scorer(kind=Scorer.KIND_EXACT_TEXT)
    if exact_field or text_field:
        scorer = Scorer(kind=Scorer.KIND_JSON_FIELDS, exact_fields=exact_field, text_field=text_field)
    with connect() as gyre:
        version = gyre.datasets.version_name(data)
        fields = {"slices": list(slices), "max_tokens": max_tokens, "max_rows": max_rows}
        output.show_item(gyre.suites.create(name, version, scorer, **fields))


@evals.command()
@click.argument("variant", metavar="MODEL@VERSION:VARIANT", shell_complete=complete("models"))
@click.option("--suite", required=True, shell_complete=complete("suites"))
@click.option("--wait/--no-wait", default=True, show_default=True)
def run(variant: str, suite: str, wait: bool) -> None:
    """Measure a variant on a suite.

    Examples:
    gyre evals run hotline-bot@1:q8-0 --suite hotline
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        evaluation = gyre.evaluations.create(gyre.models.variant_name(variant), gyre.suites.name(suite))
        if wait:
            with progress.Watching(progress.by_state) as watching:
                evaluation = gyre.evaluations.wait(evaluation.name, on_update=watching)
    if OPTIONS.json or not wait:
        output.show_item(evaluation)
        return
    rows = [_score_row(score) for score in evaluation.scores]
    output.show_table(["SLICE", "METRIC", "VALUE", "95 % INTERVAL", "ROWS"], rows)


@evals.command()
@click.argument("evaluation", shell_complete=complete("evaluations"))
@click.option("--filter", "filter_", default="", help="For instance 'exact=false'.")
@click.option("-q", "--query", default="", help="Text to find.")
@click.option("-n", "--limit", default=10, show_default=True, type=click.IntRange(1))
def results(evaluation: str, filter_: str, query: str, limit: int) -> None:
    """Prompt, expected and given answer of each row.

    Examples:
    gyre evals results 4 --filter exact=false
    """
    from itertools import islice

    from gyre_sdk.cli import output

    with connect() as gyre:
        name = gyre.evaluations.find(evaluation).name
        found = list(islice(gyre.evaluations.results(name, filter=filter_, query=query), limit))
    columns = [
        ("SLICE", output.text("slice")),
        ("PROMPT", output.text("prompt")),
        ("EXPECTED", output.text("expected")),
    ]
    exact: output.Column = ("EXACT", lambda item: "yes" if item.exact else "no")
    output.show_items("results", found, [*columns, ("ANSWER", output.text("answer")), exact])


@evals.command()
@click.argument("candidate", shell_complete=complete("evaluations"))
@click.argument("baseline", shell_complete=complete("evaluations"))
@click.option("--rule", "rules", multiple=True, metavar="[SLICE]:BOUND", default=(":0",), show_default=True)
@click.option("--seed", default=0, type=int)
@click.pass_context
def judge(ctx: click.Context, candidate: str, baseline: str, rules: tuple[str, ...], seed: int) -> None:
    """Compare two evaluations of one suite by a paired bootstrap. Exit code 4 if a rule does not hold.

    A rule is a slice and what the lower 95 % bound of the gain must be over; `!parks` is all rows but those of parks.

    Examples:
    gyre evals judge 5 4 --rule parks:0 --rule '!parks:-0.05'
    """
    from gyre.evaluation.v1.verdict_pb2 import GateRule

    from gyre_sdk.cli import output

    with connect() as gyre:
        names = [gyre.evaluations.find(reference).name for reference in (candidate, baseline)]
        verdict = gyre.verdicts.create(names[0], names[1], [GateRule(**rule_of(rule)) for rule in rules], seed=seed)
        passed = gyre.verdicts.passed(verdict)
    if OPTIONS.json:
        output.show_item(verdict)
    else:
        _show_verdict(verdict, passed)
    ctx.exit(Exit.OK if passed else Exit.REFUSED)


@evals.command()
@click.argument("evaluation", shell_complete=complete("evaluations"))
def cancel(evaluation: str) -> None:
    """Ask an evaluation to stop."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(_find_and_cancel(gyre, evaluation))


def _find_and_cancel(gyre: Gyre, evaluation: str) -> Evaluation:
    return gyre.evaluations.cancel(gyre.evaluations.find(evaluation).name)


def _show_verdict(verdict: Verdict, passed: bool) -> None:
    from gyre_sdk.cli import output

    rows: list[list[Any]] = [
        [
            outcome.rule.slice or "all",
            outcome.rule.metric or "exact",
            f"{outcome.baseline_value:.1%} → {outcome.candidate_value:.1%}",
            f"{outcome.difference:+.1%} [{outcome.lower:+.1%}, {outcome.upper:+.1%}]",
            f"> {outcome.rule.min_lower_bound:+.1%}",
            output.coloured("PASSED" if outcome.passed else "FAILED"),
        ]
        for outcome in verdict.outcomes
    ]
    output.show_table(["SLICE", "METRIC", "BEFORE → AFTER", "GAIN, 95 % INTERVAL", "LOWER BOUND", ""], rows)
    click.secho(f"Verdict #{verdict.number}: {'passed' if passed else 'refused'}.", fg="green" if passed else "red")


def _score(item: Evaluation, metric: str) -> str:
    """Of all rows: `93.8 % [90.2, 96.1]`."""
    for score in item.scores:
        if score.metric == metric and not score.slice:
            return f"{100 * score.value:.1f} % [{100 * score.lower:.1f}, {100 * score.upper:.1f}]"
    return ""


def _score_row(score: Any) -> list[str]:
    interval = f"{100 * score.lower:.1f} – {100 * score.upper:.1f} %"
    return [score.slice or "all", score.metric, f"{100 * score.value:.1f} %", interval, str(score.count)]
