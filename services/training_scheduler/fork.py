"""A new run out of another's checkpoint, with other settings."""

from __future__ import annotations

from gyre.training_scheduler.v1 import run_service_pb2
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.db import Session

from services.training_scheduler import creation, service, store
from services.training_scheduler.models import Checkpoint, Run

WITHOUT_FORK = ("PPO",)  # beside the policy it has a value model, whose own beginning is the reward model
SAME = ("lora_rank",)  # they give the weights their shape


async def fork_run(context: Context, request: run_service_pb2.ForkRunRequest) -> Run:
    """Raises: NotFound; CheckpointNotFound; CheckpointGone; ForkUnsupported; BadHyperparameter; what `create_run` raises."""
    async with context.db.transaction() as session:
        origin = await resources.get(session, Run, request.name)
        begin = await _checkpoint(session, origin, request.step)
    if origin.method in WITHOUT_FORK:
        raise service.ForkUnsupported(method=origin.method)
    spec = creation.spec_to_proto(origin.spec)
    before = creation.as_dict(spec.hyperparameters)
    spec.hyperparameters.MergeFrom(request.hyperparameters)
    spec.register_as = request.register_as
    for field in SAME:
        if (value := getattr(spec.hyperparameters, field)) != before[field]:
            problem = f"must be that of the checkpoint, {before[field]}"
            raise service.BadHyperparameter(field=f"hyperparameters.{field}", value=value, problem=problem)
    return await creation.create_run(
        context,
        origin.project,
        spec,
        display_name=request.display_name or origin.display_name,
        request_id=request.request_id,
        begin=begin,
    )


async def _checkpoint(session: Session, origin: Run, step: int) -> Checkpoint:
    """The one at `step`; the latest for 0. Raises: CheckpointNotFound."""
    if step:
        found = await store.checkpoint(session, f"{origin.name}/checkpoints/{step}")
    else:
        found = await store.latest_checkpoint(session, origin.name)
    if found is None:
        raise service.CheckpointNotFound(run=origin.name, step=step)
    return found
