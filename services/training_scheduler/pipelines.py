"""Use cases of pipelines: accept a lap, note what its stages did, end it."""

from __future__ import annotations

from typing import Any

from gyre.training_scheduler.v1 import events_pb2, pipeline_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import new_id
from gyre_kit.states import transition

from services.training_scheduler import store
from services.training_scheduler.lap import Outcome, StageResult
from services.training_scheduler.models import STAGES, Pipeline, PipelineState, StageState
from services.training_scheduler.service import AlreadyEnded

STATE_OF_STAGE = {
    Outcome.DONE: StageState.SUCCEEDED,
    Outcome.SKIPPED: StageState.SKIPPED,
    Outcome.WAITING: StageState.RUNNING,
    Outcome.FAILED: StageState.FAILED,
    Outcome.REFUSED: StageState.FAILED,
}
OPEN_STAGES = (StageState.PENDING, StageState.RUNNING)


class DataRequired(Invalid):
    """A lap needs something to learn: a feedback batch or data sets, and an sft or a dpo step that uses them."""


class RewardUnused(Invalid):
    """A reward model alone changes no answer: add the ppo step that learns from it, or start a REWARD run by itself."""


class OneSourceOfFeedback(Invalid):
    """A lap learns from a batch that is there (feedback_batch), or from one that it waits for (collect), not from both."""


class BadCollect(Invalid):
    """Say how many pieces to wait for, from 1 to 100,000, and the slug of the data set that gets their rows."""


class BadTrafficSteps(Invalid):
    """Traffic steps rise from at least 1 to 100 percent, for example 10, 50, 100."""


class BadReference(Invalid):
    """A resource is named in full, as a part of this project: projects/{project}/models/{model}, say."""


class RegisterAsRequired(Invalid):
    """To be quantised, evaluated, promoted or served, the result must be registered: name a model in register_as."""


class SuitesRequired(Invalid):
    """A gate judges by suites: name at least one."""


class RulesRequired(Invalid):
    """A gate without rules would pass everything: give rules, or leave the gate out."""


class BatchNotFound(NotFound):
    """There is no such feedback batch in this project."""


class BatchNotReady(Precondition):
    """The feedback batch is not ready; wait for it, or look at why it failed."""


class SuiteNotFound(NotFound):
    """There is no such suite in this project."""


async def create(
    session: Session, project: str, spec: dict[str, Any], *, display_name: str, request_id: str
) -> Pipeline:
    """Keeps a checked lap, QUEUED; the one that an earlier call with the same request id made, if there is one."""
    number = await resources.next_number(session, Pipeline, project)
    if earlier := await resources.by_request(session, Pipeline, project, request_id):
        return earlier
    pipeline = Pipeline(
        name=f"projects/{project}/pipelines/{new_id()}",
        project=project,
        number=number,
        display_name=display_name or f"Lap {number}",
        state=PipelineState.QUEUED,
        base=spec["base"],
        feedback_batch=spec.get("feedback_batch", ""),
        spec=spec,
        stages=[{"id": stage, "state": StageState.PENDING.value} for stage in STAGES],
        request_id=request_id or None,
    )
    session.add(pipeline)
    await session.flush()
    return pipeline


async def cancel(session: Session, name: str, *, etag: str = "") -> Pipeline:
    """Asks for a stop; asking again changes nothing. Raises: NotFound; EtagMismatch; AlreadyEnded."""
    pipeline = await resources.get(session, Pipeline, name, lock=True)
    resources.check_etag(pipeline, etag)
    if pipeline.ended:
        raise AlreadyEnded(name=name, state=pipeline.state)
    if pipeline.state != PipelineState.CANCELLING:
        pipeline.due = None
        await transition(session, pipeline, PipelineState.CANCELLING)
    return pipeline


def present_stage(pipeline: Pipeline) -> str:
    """The first stage that has not ended; empty when all have."""
    return next((str(stage["id"]) for stage in pipeline.stages if stage["state"] in OPEN_STAGES), "")


async def begin(session: Session, pipeline: Pipeline) -> None:
    if pipeline.state == PipelineState.QUEUED:
        pipeline.start_time = session.clock.now()
        await transition(session, pipeline, PipelineState.RUNNING)


async def note(session: Session, pipeline: Pipeline, stage: str, result: StageResult) -> None:
    """Writes down what a stage did, and ends the lap if it failed or was the last. A lap that is being cancelled only
    remembers: its end is `cancelled`.
    """
    _write_stage(session, pipeline, stage, result)
    if result.outcome is not Outcome.WAITING:
        pipeline.cost_microusd = await store.cost_of(session, pipeline.name) + _cost_of_evaluations(pipeline)
    if pipeline.state != PipelineState.RUNNING:
        return
    if result.outcome is Outcome.FAILED:
        await _end(session, pipeline, PipelineState.FAILED, result.reason, result.message)
    elif result.outcome is Outcome.REFUSED:
        await _end(session, pipeline, PipelineState.REFUSED, result.reason, result.message)
    elif not present_stage(pipeline):
        await _end(session, pipeline, PipelineState.SUCCEEDED)


async def cancelled(session: Session, pipeline: Pipeline) -> None:
    """Everything that the lap had running has stopped."""
    present, now = present_stage(pipeline), session.clock.now().isoformat()
    pipeline.stages = [
        {**stage, "state": StageState.CANCELLED.value, **({"end_time": now} if stage["id"] == present else {})}
        if stage["state"] in OPEN_STAGES
        else stage
        for stage in pipeline.stages
    ]
    pipeline.cost_microusd = await store.cost_of(session, pipeline.name) + _cost_of_evaluations(pipeline)
    await _end(session, pipeline, PipelineState.CANCELLED)


def _write_stage(session: Session, pipeline: Pipeline, stage: str, result: StageResult) -> None:
    now = session.clock.now().isoformat()
    stages = [dict(it) for it in pipeline.stages]  # a new list, so that the column counts as changed
    entry = next(it for it in stages if it["id"] == stage)
    entry["state"] = STATE_OF_STAGE[result.outcome].value
    entry.setdefault("start_time", now)
    entry["message"] = result.message
    entry["result"] = {**entry.get("result", {}), **result.facts}
    if result.resource:
        entry["resource"] = result.resource
    if result.outcome is not Outcome.WAITING:
        entry["end_time"] = now
    if stages != pipeline.stages:
        pipeline.stages = stages
    if stage == "collect":
        pipeline.feedback_batch = result.resource or pipeline.feedback_batch
    if stage == "register":
        pipeline.model_version = result.resource or pipeline.model_version
    if stage == "gate":
        pipeline.verdict = result.resource or pipeline.verdict


async def _end(session: Session, pipeline: Pipeline, state: PipelineState, reason: str = "", message: str = "") -> None:
    pipeline.end_time = session.clock.now()
    pipeline.failure_reason, pipeline.failure_message = reason, message
    finished = events_pb2.PipelineFinished(
        name=pipeline.name,
        number=pipeline.number,
        state=pipeline_pb2.Pipeline.State.Value(f"STATE_{state}"),
        failure_reason=reason,
        model_version=pipeline.model_version,
        verdict=pipeline.verdict,
        feedback_batch=pipeline.feedback_batch,
        cost_microusd=pipeline.cost_microusd,
    )
    finished.end_time.FromDatetime(session.clock.now())
    await transition(session, pipeline, state, finished)


def _cost_of_evaluations(pipeline: Pipeline) -> int:
    evaluate = next(it for it in pipeline.stages if it["id"] == "evaluate")
    return int(evaluate.get("result", {}).get("cost_microusd", 0))
