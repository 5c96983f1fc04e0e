"""The machine's part: train, register, quantise, measure as served, deploy; and lap two as one pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from gyre.evaluation.v1.evaluation_pb2 import Evaluation
from gyre.model_registry.v1.variant_pb2 import Variant
from gyre.training_scheduler.v1.pipeline_pb2 import GateSettings, Pipeline, PipelineSpec, ReplaySource, TrainingStep
from gyre.training_scheduler.v1.run_pb2 import Hyperparameters

from gyre_sdk import messages
from gyre_sdk.cli.output import size
from gyre_sdk.cli.progress import by_state, run_line, run_share
from gyre_sdk.demo.story import Story
from gyre_sdk.resources.serving import target

BASE_MODEL = "base"
ALIAS = "champion"


def import_base(story: Story) -> None:
    story.show.step(f"Import the base model {story.plan.base}")
    story.gyre.models.ensure(BASE_MODEL)
    version = story.gyre.models.import_version(BASE_MODEL, story.plan.base)
    with story.show.watching(by_state) as watching:
        ready = story.gyre.models.wait_version(version.name, on_update=watching)
    story.base_version = ready.name
    story.show.say(
        f"{ready.architecture}, {ready.parameter_count / 1e6:.0f} M parameters, {size(ready.size_bytes)}; "
        f"licence {ready.licence or 'unknown'}, origin {ready.origin or 'unknown'}"
    )


def first_lap(story: Story) -> None:
    """SFT with LoRA, live; registered when it has succeeded."""
    show, plan = story.show, story.plan
    show.step("Lap 1: supervised fine-tuning with LoRA")
    model = story.gyre.models.ensure(plan.slug, origin="trained on this platform")
    run = story.gyre.runs.create(
        display_name="Lap 1",
        method="SFT",
        base=story.base_version,
        datasets=[story.taught],
        hyperparameters=dict(plan.lap1),
        seed=plan.seed,
        register_as=model.name,
    )
    with show.watching(run_line, run_share) as watching:
        for update in story.gyre.runs.watch(run.name):
            watching(update.run)
    run = story.gyre.runs.wait(run.name)
    with show.watching(by_state) as watching:
        version = story.gyre.models.wait_version(_version_of_run(story, run.name), on_update=watching)
    story.lap1_version = version.name
    show.say(f"{run.step} steps, last loss {run.loss:.3f}; registered as {version.name}")


def measure(story: Story) -> None:
    """Base and lap 1, quantised, on the held-out rows, asked the way applications will ask."""
    show = story.show
    show.step("Quantise, and evaluate base and lap 1 as they will be served")
    story.base_variants = _variants(story, story.base_version, story.plan.quantisations[:1])
    story.lap1_variants = _variants(story, story.lap1_version, story.plan.quantisations)
    served = story.plan.quantisations[0]
    evaluate(story, {"base": story.base_variants[served], "lap 1": story.lap1_variants[served]})


def evaluate(story: Story, variants: Mapping[str, str]) -> None:
    """One evaluation for each variant and suite; all are asked for at once, and the scheduler fills the cores."""
    create = story.gyre.evaluations.create
    asked = {
        title: [create(variant, suite, display_name=title) for suite in (*story.suites, *story.reported_suites)]
        for title, variant in variants.items()
    }
    for title, evaluations in asked.items():
        story.evaluations[title] = [_measured(story, title, evaluation) for evaluation in evaluations]


def _measured(story: Story, title: str, evaluation: Evaluation) -> Evaluation:
    with story.show.watching(by_state) as watching:
        evaluation = story.gyre.evaluations.wait(evaluation.name, on_update=watching)
    story.show.say(f"{title} on {evaluation.suite.rsplit('/', 1)[-1]}: {figures(evaluation)}")
    return evaluation


def deploy(story: Story) -> None:
    """Lap 1 becomes the champion, and answers under its name."""
    show = story.show
    show.step("Deploy lap 1 on the embedded engine")
    variant = story.lap1_variants[story.plan.quantisations[0]]
    story.gyre.models.move_alias(story.plan.slug, ALIAS, story.lap1_version, variant=variant, gated=True)
    deployment = story.gyre.deployments.create(story.deployment, [target(variant)])
    with show.watching(by_state) as watching:
        story.gyre.deployments.wait_ready(deployment.name, on_update=watching)
    show.say(f"{story.deployment} answers at {story.gyre.config.openai_url}; alias {ALIAS} is gated from now on")


def second_lap(story: Story) -> None:
    """One pipeline does it all: SFT on corrections and old rows, DPO on pairs, then gate, promote, shift."""
    story.show.step("Lap 2: one pipeline from the approved corrections to shifted traffic")
    pipeline = story.gyre.pipelines.create(_lap2(story), display_name="Lap 2")
    told: set[str] = set()
    with story.show.watching(_stage_line, _stage_share) as watching:
        for update in story.gyre.pipelines.watch(pipeline.name):
            watching(update)
            _tell_stages(story, update, told)
    story.lap2 = story.gyre.pipelines.wait(pipeline.name, check=False)
    _tell_stages(story, story.lap2, told)
    if messages.enum_name(story.lap2, "state") in ("FAILED", "CANCELLED"):
        raise SystemExit(f"Lap 2 {story.lap2.failure_reason}: {story.lap2.failure_message}")
    story.evaluations["lap 2"] = [*_evaluations_of(story, story.lap2), *_reported(story, story.lap2)]


def _lap2(story: Story) -> PipelineSpec:
    plan = story.plan
    return PipelineSpec(
        base=story.lap1_version,
        feedback_batch=story.batch,
        sft=TrainingStep(
            datasets=[ReplaySource(version=story.taught, max_rows=plan.replay)],
            hyperparameters=Hyperparameters(**plan.lap2),
        ),
        dpo=TrainingStep(hyperparameters=Hyperparameters(**plan.dpo)),
        register_as=f"projects/{story.project}/models/{plan.slug}",
        quantisations=list(plan.quantisations),
        suites=story.suites,
        gate=GateSettings(rules=list(plan.rules)),
        alias=ALIAS,
        deployment=f"projects/{story.project}/deployments/{story.deployment}",
        traffic_steps=list(plan.traffic_steps),
        traffic_step_seconds=plan.step_seconds,
        seed=plan.seed,
    )


def _reported(story: Story, pipeline: Pipeline) -> list[Evaluation]:
    """What the gate did not look at is measured afterwards."""
    variants = {it.quantisation: it.name for it in story.gyre.models.variants(pipeline.model_version)}
    served = variants[story.plan.quantisations[0]]
    asked = [story.gyre.evaluations.create(served, suite, display_name="lap 2") for suite in story.reported_suites]
    return [_measured(story, "lap 2", evaluation) for evaluation in asked]


def figures(evaluation: Evaluation) -> str:
    """`exact 90.4 % (85.6 to 93.7), text 0.81, p50 210 ms`."""
    parts = []
    for score in evaluation.scores:
        if not score.slice and score.metric == "exact":
            parts.append(f"exact {share(score.value)} ({share(score.lower)} to {share(score.upper)}, n={score.count})")
        elif not score.slice and score.metric == "text":
            parts.append(f"text {score.value:.2f}")
    return ", ".join([*parts, f"p50 {evaluation.latency_p50_ms:.0f} ms"])


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _variants(story: Story, version: str, quantisations: tuple[str, ...]) -> dict[str, str]:
    made: dict[str, Variant] = {}
    for name in quantisations:
        variant = story.gyre.models.create_variant(version, name)
        with story.show.watching(by_state) as watching:
            made[name] = story.gyre.models.wait_variant(variant.name, on_update=watching)
        note = f" ({made[name].note})" if made[name].note else ""
        story.show.say(f"{name} of {version.split('/models/')[-1]}: {size(made[name].size_bytes)}{note}")
    return {name: variant.name for name, variant in made.items()}


def _version_of_run(story: Story, run: str) -> str:
    """The registry hears of a run's success by an event; this waits for what it makes of it."""
    found = story.gyre.models.await_run(story.plan.slug, run)
    return found.name


def _stage_line(pipeline: Pipeline) -> str:
    running = [stage for stage in pipeline.stages if messages.enum_name(stage, "state") == "RUNNING"]
    return f"{running[-1].id}: {running[-1].message}" if running else messages.enum_name(pipeline, "state")


def _stage_share(pipeline: Pipeline) -> float:
    ended = [stage for stage in pipeline.stages if messages.enum_name(stage, "state") not in ("PENDING", "RUNNING")]
    return len(ended) / max(1, len(pipeline.stages))


def _tell_stages(story: Story, pipeline: Pipeline, told: set[str]) -> None:
    for stage in pipeline.stages:
        state = messages.enum_name(stage, "state")
        if stage.id not in told and state not in ("PENDING", "RUNNING"):
            told.add(stage.id)
            story.show.say(f"{stage.id:9} {state.lower()}: {stage.message}")


def _evaluations_of(story: Story, pipeline: Pipeline) -> list[Evaluation]:
    """The candidate's, in the order of the suites."""
    facts: Mapping[str, str] = next((stage.result for stage in pipeline.stages if stage.id == "evaluate"), {})
    names = [facts[f"candidate/{suite}"] for suite in story.suites if f"candidate/{suite}" in facts]
    return [story.gyre.evaluations.get(name) for name in names]
