"""gate: evaluation judges whether the candidate may replace the baseline. Its no ends the lap, and nothing moves."""

from __future__ import annotations

from collections.abc import Sequence

from gyre.evaluation.v1 import evaluation_pb2, evaluation_service_pb2, verdict_pb2, verdict_service_pb2
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre.evaluation.v1.verdict_service_pb2_grpc import VerdictServiceStub
from gyre_kit.app import Context
from gyre_kit.names import last

from services.training_scheduler.lap import Lap, StageResult, done, refused, skipped

Rule = verdict_pb2.GateRule
Verdict = verdict_pb2.Verdict
JUDGE_SECONDS = 60  # ten thousand samples over some thousand rows


async def judge(context: Context, lap: Lap) -> StageResult:
    """One verdict for each suite, by those rules whose rows the suite has; a rule that no suite can answer is a no."""
    if not lap.spec.HasField("gate"):
        return skipped("Not asked for: promoted without a gate.")
    rules = await _rules_by_suite(context, lap)
    answered = [rule for chosen in rules.values() for rule in chosen]
    for rule in lap.spec.gate.rules:
        if rule not in answered:
            return refused("NO_ROWS", f"Refused by the gate: no suite has rows of {rule.slice or 'any slice'}.")
    verdicts = {suite: await _verdict(context, lap, suite, chosen) for suite, chosen in rules.items() if chosen}
    return _outcome(verdicts)


def _outcome(verdicts: dict[str, Verdict]) -> StageResult:
    facts = {f"verdict/{suite}": verdict.name for suite, verdict in verdicts.items()}
    for verdict in verdicts.values():
        for outcome in verdict.outcomes:
            facts |= _figures(outcome)
    said_no = [verdict for verdict in verdicts.values() if verdict.state != Verdict.STATE_PASSED]
    if said_no:
        reasons = "; ".join(_sentence(it) for verdict in said_no for it in verdict.outcomes if not it.passed)
        return refused("GATE_REFUSED", f"Refused by the gate: {reasons}.", resource=said_no[0].name, facts=facts)
    first = next(iter(verdicts.values()))
    sentences = "; ".join(_sentence(it) for verdict in verdicts.values() for it in verdict.outcomes)
    return done(f"Passed: {sentences}.", resource=first.name, facts=facts)


async def _rules_by_suite(context: Context, lap: Lap) -> dict[str, list[Rule]]:
    stub = context.clients.stub(EvaluationServiceStub)
    chosen: dict[str, list[Rule]] = {}
    for suite in lap.spec.suites:
        name = lap.facts("evaluate")[f"candidate/{suite}"]
        evaluation = await stub.GetEvaluation(evaluation_service_pb2.GetEvaluationRequest(name=name))
        chosen[suite] = [rule for rule in lap.spec.gate.rules if has_rows(evaluation.scores, rule.slice)]
    return chosen


def has_rows(scores: Sequence[evaluation_pb2.SliceScore], slice: str) -> bool:
    """Whether a suite has rows of `slice`: a name, `!` and a name for all others, or empty for all."""
    slices = {score.slice for score in scores if score.slice}
    if not slice:
        return True
    if slice.startswith("!"):
        return slices != {slice[1:]}
    return slice in slices


async def _verdict(context: Context, lap: Lap, suite: str, rules: Sequence[Rule]) -> Verdict:
    evaluations = lap.facts("evaluate")
    return await context.clients.stub(VerdictServiceStub).CreateVerdict(
        verdict_service_pb2.CreateVerdictRequest(
            parent=lap.parent,
            display_name=f"{lap.title}: {last(suite)}",
            candidate=evaluations[f"candidate/{suite}"],
            baseline=evaluations[f"baseline/{suite}"],
            rules=rules,
            seed=lap.spec.seed,
            request_id=lap.request_id(f"verdict-{last(suite)}"),
        ),
        timeout=JUDGE_SECONDS,
    )


def _figures(outcome: verdict_pb2.RuleOutcome) -> dict[str, str]:
    slice = outcome.rule.slice or "all"
    return {
        f"{slice}/difference": f"{outcome.difference:.4f}",
        f"{slice}/lower": f"{outcome.lower:.4f}",
        f"{slice}/upper": f"{outcome.upper:.4f}",
    }


def _sentence(outcome: verdict_pb2.RuleOutcome) -> str:
    rule = outcome.rule
    return (
        f"{rule.metric or 'exact'} on {rule.slice or 'all rows'} {outcome.difference:+.3f} "
        f"(95 % from {outcome.lower:+.3f}; must be over {rule.min_lower_bound:+.3f})"
    )
