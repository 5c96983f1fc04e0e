"""Conducts pipelines: the present stage is called, what it did is written down, the next one follows.

A stage is called again after a kill at any line: it asks others by the lap's request ids, and the note of what it did
comes after. An error that may pass makes it wait, one that will not ends the lap with its reason.
"""

from __future__ import annotations

import logging

import grpc
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.errors import DomainError, from_rpc
from gyre_kit.reconcile import Claim, lease

from services.training_scheduler import pipelines, service, store
from services.training_scheduler.lap import Lap, Outcome, StageResult, failed, waiting
from services.training_scheduler.models import PIPELINE_ENDED, Pipeline, PipelineState, RunState
from services.training_scheduler.stages import FUNCTIONS
from services.training_scheduler.stages.evaluate import stop_evaluations
from services.training_scheduler.stages.shift import take_back

log = logging.getLogger(__name__)
LEASE_SECONDS = 10  # after a kill a lap goes on no later than this
FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
)


async def conduct(context: Context) -> bool:
    """Brings one open pipeline on as far as it goes without waiting."""
    is_open = Pipeline.state.not_in(PIPELINE_ENDED)  # type: ignore[attr-defined]
    again_in = context.settings.conduct_seconds
    async with lease(context.db, Pipeline, is_open, seconds=LEASE_SECONDS, again_in=again_in) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            while await _advance(context, claim):
                await claim.extend(context.db, LEASE_SECONDS)
    return True


async def _advance(context: Context, claim: Claim[Pipeline]) -> bool:
    """One call of one stage; True if there is something to do at once."""
    async with context.db.transaction() as session:  # 1 read
        pipeline = await claim.reload(session)
        if not pipeline.ended and pipeline.state != PipelineState.CANCELLING:
            await pipelines.begin(session, pipeline)
    if pipeline.ended:
        return False
    lap, stage = Lap(pipeline), pipelines.present_stage(pipeline)
    if pipeline.state == PipelineState.CANCELLING:
        return await _cancel(context, claim, lap)
    result = await _call(context, lap, stage)  # 2 act
    if result.outcome is Outcome.FAILED:
        await _stop_work(context, lap)
    async with context.db.transaction() as session:  # 3 write down
        await pipelines.note(session, await claim.reload(session), stage, result)
    log.info("stage", extra={"pipeline": lap.name, "stage": stage, "outcome": result.outcome, "note": result.message})
    return result.again or result.outcome in (Outcome.DONE, Outcome.SKIPPED)


async def _call(context: Context, lap: Lap, stage: str) -> StageResult:
    try:
        return await FUNCTIONS[stage](context, lap)
    except grpc.aio.AioRpcError as error:
        known: DomainError = from_rpc(error)
    except DomainError as error:
        known = error
    if known.code in FINAL:
        return failed(known.reason, known.message)
    return waiting(f"Will try again: {known.message}")


async def _cancel(context: Context, claim: Claim[Pipeline], lap: Lap) -> bool:
    if await _stop_work(context, lap):
        async with context.db.transaction() as session:
            await pipelines.cancelled(session, await claim.reload(session))
    return False


async def _stop_work(context: Context, lap: Lap) -> bool:
    """Asks what this lap has running to stop; True when nothing runs any more."""
    async with context.db.transaction() as session:
        runs = await store.open_runs_of(session, lap.name)
        for run in runs:
            if run.state != RunState.CANCELLING:
                await service.cancel(session, run.name)
    if runs:
        context.wake()
    await take_back(context, lap)
    return await stop_evaluations(context, lap) and not runs
