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
from services.evaluation.measuring import Prices
from services.evaluation.models import Comparison, Evaluation, EvaluationState, Suite

QUANTISATIONS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
BASELINE = "F16"
MODEL_QUANTISATIONS = ("Q8_0",)
ONLY_ON_VLLM = frozenset({"AWQ", "GPTQ", "FP8"})
CALIBRATED = frozenset({"AWQ", "GPTQ"})  # are nothing without conversations
MOST = 16  # candidates in one comparison
HOUR = 3600.0
Candidate = dict[str, Any]


class FlavorUnknown(Invalid):
    """The platform has no such flavor."""


class CalibrationNeeded(Invalid):
    """AWQ and GPTQ need conversations to measure on; name a data set version as calibration, or take FP8."""


class BadComparison(Invalid):
    """A comparison needs a margin from 0 to 1, a metric that the suite scores, and 2 to 16 candidates, none twice."""


def wanted(version: str, versions: Sequence[str], quantisations: Sequence[str], baseline: str) -> list[tuple[str, str]]:
    """(version, quantisation) of each candidate. Raises: BadComparison where both kinds are asked for, or neither."""
    if bool(version) == bool(versions):
        raise BadComparison(field="versions", given=", ".join(versions)[:120])
    if versions:
        return [(each, it) for each in versions for it in quantisations or MODEL_QUANTISATIONS]
    others = [it for it in quantisations or QUANTISATIONS if it != baseline]
    return [(version, it) for it in (baseline, *others)]


def check(
    margin: float, metric: str, suite: Suite, candidates: Sequence[tuple[str, str]], *, calibration: str = ""
) -> None:
    """`candidates` as `wanted` gives them. Raises: BadComparison; CalibrationNeeded."""
    if not calibration and (uncalibrated := CALIBRATED & {quantisation for _, quantisation in candidates}):
        raise CalibrationNeeded(field="calibration", quantisation=", ".join(sorted(uncalibrated)))
    if not 0 <= margin <= 1:
        raise BadComparison(field="margin", given=margin)
    scorer = suite.scorer
    has_text = scorer["kind"] == "EXACT_TEXT" or scorer.get("text_field")
    if metric not in service.METRICS or (metric == "text" and not has_text):
        raise BadComparison(field="metric", given=metric)
    if not 2 <= len(candidates) <= MOST or len(set(candidates)) != len(candidates):
        of_models = len({version for version, _ in candidates}) > 1
        given = ", ".join(version if of_models else quantisation for version, quantisation in candidates)
        raise BadComparison(field="versions" if of_models else "quantisations", given=given[:120])


def takes_calibration(quantisation: str) -> bool:
    """AWQ, GPTQ, and K-quants by an importance matrix; the registry refuses it for others."""
    return "_K" in quantisation or quantisation in CALIBRATED


def needs_vllm(candidates: Sequence[tuple[str, str]]) -> bool:
    """`candidates` as `wanted` gives them."""
    return any(quantisation in ONLY_ON_VLLM for _, quantisation in candidates)


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


def figures(evaluation: Evaluation, metric: str, flavor: str, prices: Prices) -> Candidate:
    """What a SUCCEEDED evaluation adds to its candidate. Priced is the time of cores and cards that its tokens took."""
    core_hours = evaluation.cost["cpu_seconds_per_token"] * 1e6 / HOUR
    card_hours = evaluation.cost.get("card_seconds_per_token", 0.0) * 1e6 / HOUR
    return {
        "state": "MEASURED",
        "score": next(it for it in evaluation.scores if not it["slice"] and it["metric"] == metric),
        "cost": evaluation.cost,
        "tokens_per_second": evaluation.tokens_per_second,
        "flavor": flavor,
        "million_tokens_microusd": round(
            core_hours * prices.core_hour_microusd + card_hours * prices.card_hour_microusd
        ),
    }


def baseline_of(comparison: Comparison, candidates: Sequence[Candidate]) -> Candidate | None:
    """What the others are compared with: of quantisations the first, of models the one with the best score, and of
    equally good ones the cheapest. None where it was not measured.
    """
    among = candidates[:1] if comparison.version else candidates
    measured = [it for it in among if it["state"] == "MEASURED"]
    return max(measured, key=lambda it: (it["score"]["value"], -it["million_tokens_microusd"]), default=None)


def judged(
    candidates: Sequence[Candidate],
    baseline: Candidate,
    rows: Mapping[str, Mapping[str, gate.Row]],
    metric: str,
    margin: float,
) -> list[Candidate]:
    """The candidates with their differences to the baseline, and their place among the others.

    `rows` are the answers of the measured ones, by variant. Those that failed stay as they are.
    """
    rule = gate.Rule("", metric, -margin)

    def against_baseline(candidate: Candidate) -> Candidate:
        if candidate["state"] != "MEASURED":
            return candidate
        if candidate["variant"] == baseline["variant"]:
            return candidate | {"within_margin": True}
        new, old = rows[candidate["variant"]], rows[baseline["variant"]]
        (outcome,) = gate.judge(new, old, [rule], seed=0, resamples=gate.RESAMPLES)
        return candidate | {
            "difference": outcome.difference,
            "difference_lower": outcome.lower,
            "difference_upper": outcome.upper,
            "within_margin": outcome.passed,
        }

    found = [against_baseline(it) for it in candidates]
    on_front = pareto.front(points(found))
    return [it | {"on_front": it["variant"] in on_front} for it in found]


def points(candidates: Sequence[Candidate]) -> list[pareto.Point]:
    return [
        pareto.Point(
            it["variant"],
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
    baseline = baseline_of(comparison, candidates)
    if baseline is None:
        code = "BASELINE_FAILED" if comparison.version else "NOTHING_MEASURED"
        first = candidates[0]
        await _fail(session, comparison, code, f"{called(comparison, first)}: {first['failure_message']}")
        return
    if not comparison.version:
        comparison.baseline = baseline["variant"]
    best = pareto.recommended(points(candidates))
    chosen = next(it for it in candidates if it["variant"] == best.name)
    comparison.recommended = chosen["variant"]
    comparison.recommendation_reason, comparison.recommendation_message = reason(comparison, baseline, chosen)
    completed = render(comparison, events_pb2.ComparisonCompleted)
    await transition(session, comparison, EvaluationState.SUCCEEDED, completed)


def reason(comparison: Comparison, baseline: Candidate, chosen: Candidate) -> tuple[str, str]:
    """A code and a sentence. The console says the same in the reader's language, from the code and the figures."""
    name, allowed = called(comparison, chosen), f"{comparison.margin * 100:.3g} points that are allowed"
    if chosen["variant"] == baseline["variant"]:
        return "BASELINE_BEST", f"No other is cheaper than {name} and surely no worse than the {allowed}."
    saved = 1 - chosen["million_tokens_microusd"] / (
        baseline["million_tokens_microusd"] or 1
    )  # all 0 where work is free
    worst = max(0.0, -chosen["difference_lower"] * 100)
    return "CHEAPEST_WITHIN_MARGIN", (
        f"A million tokens of {name} cost ${chosen['million_tokens_microusd'] / 1e6:.3g}, {saved:.0%} less than of "
        f"{called(comparison, baseline)}; its score is at most {worst:.1f} points lower (95 %), within the {allowed}."
    )


def called(comparison: Comparison, candidate: Candidate) -> str:
    """A quantisation's name; `hotline@3 Q8_0` where models are compared."""
    if comparison.version:
        return str(candidate["quantisation"])
    model, version = candidate["variant"].split("/")[3:6:2]
    return f"{model}@{version} {candidate['quantisation']}"


async def _fail(session: Session, comparison: Comparison, code: str, message: str) -> None:
    comparison.failure_reason, comparison.failure_message = code, message
    failed = events_pb2.ComparisonFailed(
        name=comparison.name, version=comparison.version, suite=comparison.suite, failure_reason=code
    )
    failed.end_time.FromDatetime(session.clock.now())
    await transition(session, comparison, EvaluationState.FAILED, failed)
