"""sft, dpo, reward and ppo: one run each, on what those before it made. A reward model is no step of the policy."""

from __future__ import annotations

from gyre.training_scheduler.v1 import run_pb2
from gyre_kit import resources
from gyre_kit.app import Context

from services.training_scheduler import creation
from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting
from services.training_scheduler.models import RUN_HELD, Run, RunState


async def train_sft(context: Context, lap: Lap) -> StageResult:
    return await _train(context, lap, "sft", run_pb2.METHOD_SFT, lap.spec.base)


async def train_dpo(context: Context, lap: Lap) -> StageResult:
    return await _train(context, lap, "dpo", run_pb2.METHOD_DPO, lap.made_by("sft") or lap.spec.base)


async def train_reward(context: Context, lap: Lap) -> StageResult:
    return await _train(context, lap, "reward", run_pb2.METHOD_REWARD, lap.made_by("sft") or lap.spec.base)


async def train_ppo(context: Context, lap: Lap) -> StageResult:
    reward_model = lap.made_by("reward") or lap.spec.reward_model
    if lap.training("ppo") is not None and not reward_model:
        return skipped("There was nothing to make a reward model of.")
    base = lap.made_by("sft", "dpo") or lap.spec.base
    return await _train(context, lap, "ppo", run_pb2.METHOD_PPO, base, reward_model)


async def _train(
    context: Context, lap: Lap, stage: str, method: run_pb2.Method.ValueType, base: str, reward_model: str = ""
) -> StageResult:
    step = lap.training(stage)
    if step is None:
        return skipped("Not asked for.")
    dataset = lap.facts("data").get(stage, "")
    if not dataset:
        return skipped("There are no rows for it.")
    run = await creation.create_run(
        context,
        lap.project,
        run_pb2.RunSpec(
            method=method,
            base=base,
            reward_model=reward_model,
            datasets=[dataset],
            hyperparameters=step.hyperparameters,
            recipe=step.recipe,
            seed=lap.spec.seed,
            queue=lap.spec.queue,
            priority=lap.spec.priority,
        ),
        display_name=f"{lap.title}: {stage.upper()}",
        request_id=lap.request_id(stage),
        pipeline=lap.name,
        created_by=lap.created_by,
    )
    return _outcome(run)


def _outcome(run: Run) -> StageResult:
    if run.state == RunState.SUCCEEDED:
        return done(f"Trained in {run.step} steps.", resource=run.name, facts={"digest": run.output_digest})
    if run.state == RunState.FAILED:
        return failed(run.failure_reason, run.failure_message, resource=run.name)
    if run.state in (RunState.CANCELLING, RunState.CANCELLED):
        return failed("RUN_CANCELLED", "Somebody cancelled its run.", resource=run.name)
    if run.state in RUN_HELD:
        return waiting("Somebody paused its run.", resource=run.name)
    if run.state == RunState.QUEUED:
        return waiting(f"Its run waits: {run.waiting_reason or 'QUEUED'}.", resource=run.name)
    return waiting(f"Step {run.step} of {run.total_steps}.", resource=run.name)


async def run_of(context: Context, name: str) -> Run:
    """Raises: NotFound."""
    async with context.db.transaction() as session:
        return await resources.get(session, Run, name)
