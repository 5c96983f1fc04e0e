"""Checks a lap before it is accepted: every name is asked about, so that what cannot work is refused at once."""

from __future__ import annotations

from itertools import pairwise

import grpc
from gyre.dataset.v1 import version_pb2
from gyre.evaluation.v1 import suite_service_pb2
from gyre.evaluation.v1.suite_service_pb2_grpc import SuiteServiceStub
from gyre.feedback.v1 import batch_pb2, batch_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre.training_scheduler.v1 import pipeline_pb2
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import SLUG
from gyre_kit.render import enum_name

from services.training_scheduler import creation, inputs, pipelines, recipes, service
from services.training_scheduler.lap import spec_to_json, training_steps
from services.training_scheduler.models import Pipeline

METHOD_OF_STEP = {"sft": "SFT", "dpo": "DPO", "reward": "REWARD", "ppo": "PPO"}
MOST_FEEDBACK = 100_000


async def create_pipeline(
    context: Context, project: str, spec: pipeline_pb2.PipelineSpec, *, display_name: str, request_id: str
) -> Pipeline:
    """Raises: what `check` and `check_names` raise."""
    async with context.db.transaction() as session:
        if earlier := await resources.by_request(session, Pipeline, project, request_id):
            return earlier
    check(spec, project)
    await check_names(context, spec)
    async with context.db.transaction() as session:
        pipeline = await pipelines.create(
            session, project, spec_to_json(spec), display_name=display_name, request_id=request_id
        )
    context.wake()
    return pipeline


def check(spec: pipeline_pb2.PipelineSpec, project: str) -> None:
    """Raises: the errors that need nobody else to be asked."""
    if not spec.base:
        raise service.BaseRequired(field="base")
    steps = training_steps(spec)
    _check_collect(spec)
    is_given = spec.feedback_batch or spec.HasField("collect") or any(asked.datasets for asked in steps.values())
    if not steps or not is_given:
        raise pipelines.DataRequired(field="feedback_batch")
    if "ppo" in steps and not ("reward" in steps or spec.reward_model):
        raise service.RewardModelRequired(field="ppo")
    if "reward" in steps and "ppo" not in steps:
        raise pipelines.RewardUnused(field="reward")
    for step, asked in steps.items():
        creation.own_settings(METHOD_OF_STEP[step], asked.hyperparameters)
        _check_recipe(step, asked.recipe)
    uses_version = spec.quantisations or spec.suites or spec.alias or spec.deployment or spec.HasField("gate")
    if uses_version and not spec.register_as:
        raise pipelines.RegisterAsRequired(field="register_as")
    for field, collection in (("register_as", "models"), ("deployment", "deployments")):
        name: str = getattr(spec, field)
        prefix = f"projects/{project}/{collection}/"
        if name and not (name.startswith(prefix) and SLUG.fullmatch(name.removeprefix(prefix))):
            raise pipelines.BadReference(field=field, given=name[:120])
    if spec.HasField("gate") and not spec.suites:
        raise pipelines.SuitesRequired(field="suites")
    if spec.HasField("gate") and not spec.gate.rules:
        raise pipelines.RulesRequired(field="gate.rules")
    _check_traffic(list(spec.traffic_steps))


def _check_collect(spec: pipeline_pb2.PipelineSpec) -> None:
    if not spec.HasField("collect"):
        return
    if spec.feedback_batch:
        raise pipelines.OneSourceOfFeedback(field="collect")
    if not 1 <= spec.collect.min_feedback <= MOST_FEEDBACK:
        raise pipelines.BadCollect(field="collect.min_feedback", given=spec.collect.min_feedback)
    if not SLUG.fullmatch(spec.collect.dataset_id):
        raise pipelines.BadCollect(field="collect.dataset_id", given=spec.collect.dataset_id[:120])


def _check_recipe(step: str, name: str) -> None:
    recipe = recipes.find(name) if name else recipes.default_of(METHOD_OF_STEP[step])
    if recipe is None:
        raise service.RecipeNotFound(field=f"{step}.recipe", recipe=name)
    if recipe.method != METHOD_OF_STEP[step]:
        raise service.RecipeMismatch(field=f"{step}.recipe", recipe=name, method=METHOD_OF_STEP[step])


def _check_traffic(steps: list[int]) -> None:
    if not steps:
        return
    rises = all(earlier < later for earlier, later in pairwise(steps))
    if not rises or steps[0] < 1 or steps[-1] != 100:
        raise pipelines.BadTrafficSteps(given=", ".join(map(str, steps)))


async def check_names(context: Context, spec: pipeline_pb2.PipelineSpec) -> None:
    """Raises: BaseNotFound; BatchNotFound; BatchNotReady; VersionNotFound; VersionNotReady; SuiteNotFound."""
    await inputs.find_weights(context, spec.base, head="ForCausalLM")
    if spec.reward_model:
        await inputs.find_weights(context, spec.reward_model, head="ForSequenceClassification")
    if spec.feedback_batch:
        await _check_batch(context, spec.feedback_batch)
    for asked in training_steps(spec).values():
        for source in asked.datasets:
            version, _ = await inputs.get_dataset_version(context, source.version)
            if version.state != version_pb2.Version.STATE_READY:
                raise service.VersionNotReady(version=source.version, state=enum_name(version, "state"))
    await inputs.check_queue(context, spec.queue)
    for suite in spec.suites:
        try:
            await context.clients.stub(SuiteServiceStub).GetSuite(suite_service_pb2.GetSuiteRequest(name=suite))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise pipelines.SuiteNotFound(suite=suite) from error
            raise


async def _check_batch(context: Context, name: str) -> None:
    try:
        batch = await context.clients.stub(BatchServiceStub).GetBatch(batch_service_pb2.GetBatchRequest(name=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise pipelines.BatchNotFound(batch=name) from error
        raise
    if batch.state != batch_pb2.Batch.STATE_READY:
        raise pipelines.BatchNotReady(batch=name, state=enum_name(batch, "state"))
