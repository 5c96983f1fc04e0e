"""Use cases: suites, evaluations, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gyre.evaluation.v1 import evaluation_pb2, events_pb2, suite_pb2, verdict_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, NotFound, Precondition
from gyre_kit.names import new_id, slug
from gyre_kit.outbox import emit
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.evaluation import gate
from services.evaluation.models import Evaluation, EvaluationState, Suite, SuiteState, Verdict

METRICS = ("exact", "valid_json", "text")
ENDED = (EvaluationState.SUCCEEDED, EvaluationState.FAILED, EvaluationState.CANCELLED)


class SuiteExists(AlreadyExists):
    """There is a suite of that name already, and suites do not change; choose another name."""


class BadScorer(Invalid):
    """A scorer is JSON_FIELDS with at least one exact field, or EXACT_TEXT."""


class FieldImmutable(Invalid):
    """What a suite measures is fixed; only its display_name can be changed."""


class NoRows(Precondition):
    """The chosen side and slices of the data set version have no rows."""


class AlreadyEnded(Precondition):
    """It has ended; there is nothing to stop."""


class NotSucceeded(Precondition):
    """Only evaluations that SUCCEEDED have answers."""


class SuitesDiffer(Precondition):
    """Candidate and baseline must have been measured on the same suite."""


class RulesRequired(Invalid):
    """A verdict needs at least one rule, for example {metric: exact, min_lower_bound: 0}."""


class BadRule(Invalid):
    """A rule's metric is exact, valid_json or text, and its bound lies between -1 and 1."""


@dataclass(frozen=True)
class Judgement:
    """A verdict asked for."""

    project: str
    candidate: str
    baseline: str
    rules: Sequence[gate.Rule]
    seed: int = 0
    resamples: int = gate.RESAMPLES
    display_name: str = ""
    request_id: str = ""


async def create_suite(session: Session, project: str, suite_id: str, given: dict[str, Any], request_id: str) -> Suite:
    """Raises: BadName; SuiteExists; BadScorer."""
    if earlier := await resources.by_request(session, Suite, project, request_id):
        return earlier
    scorer = given["scorer"]
    if scorer["kind"] not in ("JSON_FIELDS", "EXACT_TEXT") or (
        scorer["kind"] == "JSON_FIELDS" and not scorer["exact_fields"]
    ):
        raise BadScorer(field="scorer", given=scorer["kind"] or "nothing")
    name = f"projects/{project}/suites/{slug(suite_id)}"
    if await session.get(Suite, name):
        raise SuiteExists(name=name)
    suite = Suite(name=name, project=project, request_id=request_id or None, **given)
    suite.display_name = suite.display_name or suite_id
    session.add(suite)
    await session.flush()
    return suite


async def update_suite(session: Session, given: suite_pb2.Suite, fields: Sequence[str]) -> Suite:
    """Raises: NotFound; FieldImmutable; EtagMismatch."""
    if wrong := set(fields) - {"display_name"}:
        raise FieldImmutable(fields=", ".join(sorted(wrong)))
    suite = await resources.get(session, Suite, given.name, lock=True)
    resources.check_etag(suite, given.etag)
    suite.display_name = given.display_name
    await session.flush()
    return suite


async def delete_suite(session: Session, name: str, etag: str) -> Suite:
    suite = await resources.get(session, Suite, name, lock=True)
    resources.check_etag(suite, etag)
    await transition(session, suite, SuiteState.DELETED)
    return suite


async def active_suite(session: Session, name: str) -> Suite:
    suite = await resources.get(session, Suite, name)
    if suite.state != SuiteState.ACTIVE:
        raise NotFound(f"The suite {name} was deleted.", name=name)
    return suite


async def create_evaluation(
    session: Session, project: str, evaluation_id: str, given: dict[str, Any], request_id: str
) -> Evaluation:
    """`given` has the spec of the job, complete: nothing has to be looked up later."""
    if earlier := await resources.by_request(session, Evaluation, project, request_id):
        return earlier
    evaluation = Evaluation(
        name=f"projects/{project}/evaluations/{evaluation_id}",
        project=project,
        number=await resources.next_number(session, Evaluation, project),
        state=EvaluationState.QUEUED,
        workload=f"projects/{project}/workloads/{evaluation_id}",
        request_id=request_id or None,
        **given,
    )
    evaluation.spec = {**evaluation.spec, "output_prefix": f"evaluation/{evaluation_id}"}
    session.add(evaluation)
    await session.flush()
    return evaluation


async def cancel_evaluation(session: Session, name: str, etag: str) -> Evaluation:
    """Raises: NotFound; EtagMismatch; AlreadyEnded."""
    evaluation = await resources.get(session, Evaluation, name, lock=True)
    resources.check_etag(evaluation, etag)
    if evaluation.state in ENDED:
        raise AlreadyEnded(name=name, state=evaluation.state)
    if evaluation.state != EvaluationState.CANCELLING:
        evaluation.due = None
        await transition(session, evaluation, EvaluationState.CANCELLING)
    return evaluation


async def succeed(session: Session, evaluation: Evaluation, result: dict[str, Any]) -> None:
    """`result` is what the job left: scores, where the rows are, speeds."""
    for name, value in result.items():
        setattr(evaluation, name, value)
    evaluation.end_time = session.clock.now()
    completed = events_pb2.EvaluationCompleted(
        name=evaluation.name,
        number=evaluation.number,
        variant=evaluation.variant,
        suite=evaluation.suite,
        scores=[evaluation_pb2.SliceScore(**score) for score in evaluation.scores],
        row_count=evaluation.row_count,
        results_uri=evaluation.results_uri,
        results_digest=evaluation.results_digest,
    )
    completed.end_time.FromDatetime(session.clock.now())
    await transition(session, evaluation, EvaluationState.SUCCEEDED, completed)


async def fail(session: Session, evaluation: Evaluation, reason: str, message: str) -> None:
    evaluation.failure_reason, evaluation.failure_message = reason, message
    evaluation.end_time = session.clock.now()
    failed = events_pb2.EvaluationFailed(
        name=evaluation.name, variant=evaluation.variant, suite=evaluation.suite, failure_reason=reason
    )
    failed.end_time.FromDatetime(session.clock.now())
    await transition(session, evaluation, EvaluationState.FAILED, failed)


def check_rules(rules: Sequence[gate.Rule]) -> None:
    """Raises: RulesRequired; BadRule."""
    if not rules:
        raise RulesRequired(field="rules")
    for index, rule in enumerate(rules):
        if rule.metric not in METRICS or not -1 <= rule.min_lower_bound <= 1:
            raise BadRule(field=f"rules[{index}]", metric=rule.metric, min_lower_bound=rule.min_lower_bound)


def check_comparable(candidate: Evaluation, baseline: Evaluation) -> None:
    """Raises: NotSucceeded; SuitesDiffer."""
    for evaluation in (candidate, baseline):
        if evaluation.state != EvaluationState.SUCCEEDED:
            raise NotSucceeded(name=evaluation.name, state=evaluation.state)
    if candidate.suite != baseline.suite:
        raise SuitesDiffer(candidate=candidate.suite, baseline=baseline.suite)


async def give_verdict(
    session: Session, asked: Judgement, variants: tuple[str, str], outcomes: Sequence[gate.Outcome]
) -> Verdict:
    """Writes down what the gate found. Passed only if every rule holds."""
    if earlier := await resources.by_request(session, Verdict, asked.project, asked.request_id):
        return earlier
    passed = all(outcome.passed for outcome in outcomes)
    verdict = Verdict(
        name=f"projects/{asked.project}/verdicts/{new_id()}",
        project=asked.project,
        display_name=asked.display_name,
        number=await resources.next_number(session, Verdict, asked.project),
        state="PASSED" if passed else "FAILED",
        candidate=asked.candidate,
        baseline=asked.baseline,
        candidate_variant=variants[0],
        baseline_variant=variants[1],
        outcomes=[asdict(outcome) for outcome in outcomes],
        seed=asked.seed,
        resamples=asked.resamples,
        request_id=asked.request_id or None,
    )
    session.add(verdict)
    await session.flush()
    given = events_pb2.VerdictGiven(
        name=verdict.name,
        state=enum_number(verdict_pb2.Verdict.State.DESCRIPTOR, verdict.state),
        candidate=verdict.candidate,
        baseline=verdict.baseline,
        candidate_variant=verdict.candidate_variant,
        outcomes=[_outcome_to_proto(outcome) for outcome in verdict.outcomes],
    )
    given.give_time.FromDatetime(session.clock.now())
    await emit(session, verdict.name, given)
    return verdict


def _outcome_to_proto(outcome: dict[str, Any]) -> verdict_pb2.RuleOutcome:
    fields = {name: value for name, value in outcome.items() if name != "rule"}
    return verdict_pb2.RuleOutcome(rule=verdict_pb2.GateRule(**outcome["rule"]), **fields)
