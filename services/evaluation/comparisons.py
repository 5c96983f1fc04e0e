"""Use cases: comparisons of the quantisations of a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gyre.evaluation.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.render import render
from gyre_kit.states import transition

from services.evaluation import gate, pareto, service
from services.evaluation.models import Comparison, Evaluation, EvaluationState, Suite

QUANTISATIONS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
BASELINE = "F16"
MOST = 16  # quantisations in one comparison
HOUR = 3600.0
Candidate = dict[str, Any]


class BadComparison(Invalid):
    """A comparison needs a margin from 0 to 1, a metric that the suite scores, and two quantisations, none twice."""


def check(margin: float, metric: str, suite: Suite, quantisations: Sequence[str]) -> None:
    """`quantisations` with the baseline. Raises: BadComparison."""
    if not 0 <= margin <= 1:
        raise BadComparison(field="margin", given=margin)
    scorer = suite.scorer
    has_text = scorer["kind"] == "EXACT_TEXT" or scorer.get("text_field")
    if metric not in service.METRICS or (metric == "text" and not has_text):
        raise BadComparison(field="metric", given=metric)
    if not 2 <= len(quantisations) <= MOST or len(set(quantisations)) != len(quantisations):
        raise BadComparison(field="quantisations", given=", ".join(quantisations)[:120])


def takes_calibration(quantisation: str) -> bool:
    """An importance matrix weighs the rounding of K-quants; the registry refuses it for others."""
    return "_K" in quantisation


async def create(
    session: Session, project: str, comparison_id: str, given: Mapping[str, Any], request_id: str
) -> Comparison:
    """`given` has the candidates, each with a variant that the registry was asked for."""
    if earlier := await resources.by_request(session, Comparison, project, request_id):
        return earlier
    comparison = Comparison(
        name=f"projects/{project}/comparisons/{comparison_id}",
        project=project,
        number=await resources.next_number(session, Comparison, project),
        request_id=request_id or None,
        **given,
    )
    session.add(comparison)
    await session.flush()
    return comparison


async def cancel(session: Session, name: str, etag: str) -> Comparison:
    """Raises: NotFound; EtagMismatch; AlreadyEnded."""
    comparison = await resources.get(session, Comparison, name, lock=True)
    resources.check_etag(comparison, etag)
    if comparison.state in service.ENDED:
        raise service.AlreadyEnded(name=name, state=comparison.state)
    if comparison.state != EvaluationState.CANCELLING:
        comparison.due = None
        await transition(session, comparison, EvaluationState.CANCELLING)
    return comparison


async def note(session: Session, comparison: Comparison, candidates: Sequence[Candidate]) -> None:
    """Writes down how far the candidates are."""
    comparison.candidates = list(candidates)
    if comparison.state == EvaluationState.QUEUED:
        comparison.start_time = session.clock.now()
        await transition(session, comparison, EvaluationState.RUNNING)


def figures(evaluation: Evaluation, metric: str, flavor: str, core_hour_microusd: int) -> Candidate:
    """What a SUCCEEDED evaluation adds to its candidate. Priced is the CPU time that the engine took for its tokens."""
    core_hours = evaluation.cost["cpu_seconds_per_token"] * 1e6 / HOUR
    return {
        "state": "MEASURED",
        "score": next(it for it in evaluation.scores if not it["slice"] and it["metric"] == metric),
        "cost": evaluation.cost,
        "tokens_per_second": evaluation.tokens_per_second,
        "flavor": flavor,
        "million_tokens_microusd": round(core_hours * core_hour_microusd),
    }


def judged(
    candidates: Sequence[Candidate], rows: Mapping[str, Mapping[str, gate.Row]], metric: str, margin: float
) -> list[Candidate]:
    """The candidates with their differences to the first, the baseline, and their place among the others.

    `rows` are the answers of the measured ones, by quantisation. Those that failed stay as they are.
    """
    first, *others = candidates
    rule = gate.Rule("", metric, -margin)

    def against_first(candidate: Candidate) -> Candidate:
        if candidate["state"] != "MEASURED":
            return candidate
        new, old = rows[candidate["quantisation"]], rows[first["quantisation"]]
        (outcome,) = gate.judge(new, old, [rule], seed=0, resamples=gate.RESAMPLES)
        return candidate | {
            "difference": outcome.difference,
            "difference_lower": outcome.lower,
            "difference_upper": outcome.upper,
            "within_margin": outcome.passed,
        }

    found = [first | {"within_margin": True}, *map(against_first, others)]
    on_front = pareto.front(points(found))
    return [it | {"on_front": it["quantisation"] in on_front} for it in found]


def points(candidates: Sequence[Candidate]) -> list[pareto.Point]:
    return [
        pareto.Point(
            it["quantisation"],
            it["million_tokens_microusd"],
            it["score"]["value"],
            it["size_bytes"],
            it["within_margin"],
        )
        for it in candidates
        if it["state"] == "MEASURED"
    ]


async def conclude(session: Session, comparison: Comparison, candidates: Sequence[Candidate]) -> None:
    """SUCCEEDED with a recommendation, or FAILED where there is nothing to compare with."""
    comparison.candidates, comparison.end_time = list(candidates), session.clock.now()
    baseline = candidates[0]
    if baseline["state"] == "FAILED":
        await _fail(
            session, comparison, "BASELINE_FAILED", f"{baseline['quantisation']}: {baseline['failure_message']}"
        )
        return
    best = pareto.recommended(points(candidates))
    chosen = next(it for it in candidates if it["quantisation"] == best.name)
    comparison.recommended = chosen["variant"]
    comparison.recommendation_reason, comparison.recommendation_message = reason(baseline, chosen, comparison.margin)
    completed = render(comparison, events_pb2.ComparisonCompleted)
    await transition(session, comparison, EvaluationState.SUCCEEDED, completed)


def reason(baseline: Candidate, chosen: Candidate, margin: float) -> tuple[str, str]:
    """A code and a sentence."""
    name, allowed = chosen["quantisation"], f"{margin * 100:.3g} points that are allowed"
    if chosen["quantisation"] == baseline["quantisation"]:
        return "BASELINE_BEST", f"No other is cheaper than {name} and surely no worse than the {allowed}."
    saved = 1 - chosen["million_tokens_microusd"] / (
        baseline["million_tokens_microusd"] or 1
    )  # all 0 where work is free
    worst = max(0.0, -chosen["difference_lower"] * 100)
    return "CHEAPEST_WITHIN_MARGIN", (
        f"A million tokens of {name} cost ${chosen['million_tokens_microusd'] / 1e6:.3g}, {saved:.0%} less than of "
        f"{baseline['quantisation']}; its score is at most {worst:.1f} points lower (95 %), within the {allowed}."
    )


async def _fail(session: Session, comparison: Comparison, code: str, message: str) -> None:
    comparison.failure_reason, comparison.failure_message = code, message
    failed = events_pb2.ComparisonFailed(
        name=comparison.name, version=comparison.version, suite=comparison.suite, failure_reason=code
    )
    failed.end_time.FromDatetime(session.clock.now())
    await transition(session, comparison, EvaluationState.FAILED, failed)
