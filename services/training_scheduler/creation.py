"""From a request to a planned run: names resolved, defaults filled in, a place found, versions pinned. No transaction
is open while others are asked, and nothing is written before all of it holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from gyre.training_scheduler.v1 import run_pb2
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.names import last, new_id, project_of
from gyre_kit.render import enum_name
from gyre_trainers.methods import REINFORCED, Method, settings_of
from gyre_trainers.settings import BadSetting, Own

from services.training_scheduler import estimates, health, inputs, places, recipes, service, shapes
from services.training_scheduler.inputs import Rows, Weights
from services.training_scheduler.models import Checkpoint, Run, RunState
from services.training_scheduler.planning.plan import Misfit, Outlook, Plan, plan
from services.training_scheduler.planning.settings import Job

MAX_ATTEMPTS = 5
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Planned:
    """A checked specification and what its names stand for."""

    spec: run_pb2.RunSpec
    method: str
    base: Weights
    reward_model: Weights | None
    rows: list[Rows]
    plan: Plan
    outlook: Outlook


async def create_run(
    context: Context,
    project: str,
    asked: run_pb2.RunSpec,
    *,
    display_name: str = "",
    request_id: str = "",
    pipeline: str = "",
    created_by: str = "",
    begin: Checkpoint | None = None,
) -> Run:
    """`begin` is a checkpoint of another run whose weights this one takes. Raises: what `plan_run` raises; CheckpointGone."""
    async with context.db.transaction() as session:
        if earlier := await resources.by_request(session, Run, project, request_id):
            return earlier
    planned = await plan_run(context, asked)  # 1 check and plan
    name = f"projects/{project}/runs/{new_id()}"
    pins = _versions(planned)
    copied = await inputs.copy_checkpoint(context, begin, name) if begin else {}  # 2 hold on to it
    await inputs.pin(context, pins, holder=name)
    new = service.NewRun(
        name=name,
        project=project,
        display_name=display_name or _title(planned),
        created_by=created_by or caller().subject,
        request_id=request_id,
        pipeline=pipeline,
        spec=_as_json(planned.spec),
        inputs=_inputs(planned) | copied,
        base_version=planned.base.version,
        base_parameters=planned.base.parameters,
        estimate=estimates.to_json(planned.plan),
        requests=_requests(planned.plan),
        pins=pins,
        forked_from=begin.name if begin else "",
    )
    async with context.db.transaction() as session:  # 3 keep it
        run = await service.accept(session, new)
    if run.name != name:  # a twin of this call was faster
        await inputs.unpin(context, pins, holder=name)
    context.wake()
    return run


async def plan_run(context: Context, asked: run_pb2.RunSpec) -> Planned:
    """Raises: MethodRequired; DatasetsRequired; BadHyperparameter and the other errors at the head of `service`."""
    spec = filled(asked)
    method = enum_name(spec, "method")
    rows = await inputs.find_rows(context, method, spec.datasets)
    base = await inputs.find_weights(context, spec.base, head="ForCausalLM")
    reward_model = None
    if spec.reward_model:
        reward_model = await inputs.find_weights(context, spec.reward_model, head="ForSequenceClassification")
        if await shapes.same_vocabulary(context.store, base, reward_model) is False:
            raise service.TokenizerMismatch(field="reward_model", base=spec.base, reward_model=spec.reward_model)
    await inputs.check_queue(context, spec.queue)
    job = Job(
        method,
        await shapes.shape_of(context.store, base),
        sum(it.count for it in rows),
        as_dict(spec.hyperparameters),
        await shapes.shape_of(context.store, reward_model) if reward_model else None,
    )
    outlook = plan(job, await places.find_places(context), context.settings.trainer_cpu_milli)
    if outlook.fastest is None:
        raise _fits_nowhere(outlook.misfits)
    _choose(spec, outlook.fastest)
    return Planned(spec, method, base, reward_model, rows, outlook.fastest, outlook)


def _choose(spec: run_pb2.RunSpec, found: Plan) -> None:
    """Puts the planner's settings in place of those that would not fit."""
    for choice in found.choices:
        setattr(spec.hyperparameters, choice.setting, json.loads(choice.value))


def filled(asked: run_pb2.RunSpec) -> run_pb2.RunSpec:
    """`asked` with its recipe's values where it says nothing. Raises: the errors that need nobody else to be asked."""
    spec = run_pb2.RunSpec()
    spec.CopyFrom(asked)
    recipe = _recipe_of(spec)
    spec.recipe, spec.method = recipe.name, run_pb2.Method.Value(f"METHOD_{recipe.method}")
    if not spec.base:
        raise service.BaseRequired(field="base")
    if not spec.datasets:
        raise service.DatasetsRequired(field="datasets")
    wanted = recipes.hyperparameters(recipe, spec.preset)
    wanted.MergeFrom(spec.hyperparameters)
    spec.hyperparameters.CopyFrom(wanted)
    own = own_settings(recipe.method, wanted)
    if own.needs_reward_model and not spec.reward_model:
        raise service.RewardModelRequired(field="reward_model")
    if spec.reward_model and Method(recipe.method) not in REINFORCED:
        spec.reward_model = ""  # it would be pinned and fetched for nothing
    if own_ones := own.model_dump(mode="json", exclude_none=True):
        spec.hyperparameters.own.update(own_ones)
    try:
        spec.health.CopyFrom(health.filled(recipe.method, spec.health))
    except BadSetting as bad:
        raise _refused("health", bad) from bad
    if not 0 <= spec.seed <= LARGEST_SEED:
        raise service.BadHyperparameter(field="seed", value=spec.seed, problem=f"must be from 0 to {LARGEST_SEED}")
    spec.max_attempts = spec.max_attempts or MAX_ATTEMPTS
    return spec


def own_settings(method: str, given: run_pb2.Hyperparameters) -> Own:
    """What the method alone knows, defaults filled in. Raises: BadHyperparameter for any setting."""
    try:
        _, own = settings_of(Method(method), as_dict(given))
    except BadSetting as bad:
        raise _refused("hyperparameters", bad) from bad
    return own


def _refused(within: str, bad: BadSetting) -> service.BadHyperparameter:
    field, value = f"{within}.{bad.field}", "" if bad.value is None else bad.value
    message = f"{field} {bad.problem}; `gyre runs methods` says what can be set."
    return service.BadHyperparameter(message, field=field, value=value, problem=bad.problem)


def as_dict(given: run_pb2.Hyperparameters) -> dict[str, Any]:
    """What is set; those of the method alone under `own`."""
    values = {field.name: value for field, value in given.ListFields()}
    return values | ({"own": json_format.MessageToDict(given.own)} if "own" in values else {})


def _recipe_of(spec: run_pb2.RunSpec) -> recipes.Recipe:
    method = enum_name(spec, "method")
    if not spec.recipe:
        if not method:
            raise service.MethodRequired(field="method")
        return recipes.default_of(method)
    recipe = recipes.find(spec.recipe)
    if recipe is None:
        raise service.RecipeNotFound(recipe=spec.recipe)
    if method not in ("", recipe.method):
        raise service.RecipeMismatch(recipe=spec.recipe, method=method)
    return recipe


def draft(planned: Planned, name: str, display_name: str, created_by: str) -> Run:
    """The run that `planned` would become, not stored."""
    return Run(
        name=name,
        project=project_of(name),
        display_name=display_name or _title(planned),
        created_by=created_by,
        state=RunState.QUEUED,
        method=planned.method,
        base=planned.spec.base,
        spec=_as_json(planned.spec),
        inputs=_inputs(planned),
        estimate=estimates.to_json(planned.plan),
        requests=_requests(planned.plan),
    )


def _title(planned: Planned) -> str:
    return f"{planned.method} · {_short(planned.spec.base)}"


def _versions(planned: Planned) -> list[str]:
    """What must not be deleted while the run goes on, each once, in a fixed order."""
    models = [weights.version for weights in (planned.base, planned.reward_model) if weights and weights.version]
    return list(dict.fromkeys([*(rows.version for rows in planned.rows), *models]))


def _inputs(planned: Planned) -> dict[str, Any]:
    """As the trainer's spec.json wants them."""
    reward = planned.reward_model
    return {
        "base": {"uri": planned.base.uri, "digest": planned.base.digest},
        "reward_model": {"uri": reward.uri, "digest": reward.digest} if reward else None,
        "data": [{"uri": rows.uri, "digest": rows.digest, "rows": rows.count} for rows in planned.rows],
    }


def _requests(found: Plan) -> dict[str, Any]:
    return {"cpu_milli": found.cpu_milli, "memory_bytes": found.host_memory_bytes, "gpu": found.gpu}


def _as_json(spec: run_pb2.RunSpec) -> dict[str, Any]:
    """Proto3 JSON, but the method by its short name, for rows are filtered by it."""
    values: dict[str, Any] = json_format.MessageToDict(
        spec, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return values | {"method": enum_name(spec, "method")}


def spec_to_proto(values: dict[str, Any]) -> run_pb2.RunSpec:
    return json_format.ParseDict(values | {"method": f"METHOD_{values['method']}"}, run_pb2.RunSpec())


def _short(base: str) -> str:
    """`hotline/3` of `projects/p/models/hotline/versions/3`."""
    parts = base.split("/")
    return f"{parts[3]}/{last(base)}" if len(parts) > 4 else last(base)


def _fits_nowhere(misfits: Sequence[Misfit]) -> service.FitsNowhere:
    if not misfits:
        return service.FitsNowhere("No node has joined yet; `gyre nodes` lists them.", reason="NO_NODES")
    facts = {it.flavor: f"{it.reason}: needs {it.needed}, has {it.available}" for it in misfits}
    reason = misfits[0].reason
    remedy = "use a smaller base, batch_size or max_length, or LoRA"
    listed = "; ".join(f"{flavor} {fact}" for flavor, fact in facts.items())
    return service.FitsNowhere(f"No node could ever hold this run ({listed}): {remedy}.", reason=reason, **facts)
