"""Laps that wait for people, and laps that learn by a reward model."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from gyre.model_registry.v1 import version_pb2
from gyre.training_scheduler.v1 import pipeline_pb2, pipeline_service_pb2, run_service_pb2
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, eventually

from services.training_scheduler.lap import Lap
from services.training_scheduler.models import Pipeline, PipelineState, StageState
from services.training_scheduler.tests.laps import VERSION, Served, Source, Step, full_lap, refusal, stage_of
from services.training_scheduler.tests.world import BASE, BATCH, CORRECTIONS, PAIRS, SFT_ROWS, dataset_version

SKIPPED = pipeline_pb2.Stage.STATE_SKIPPED
Collect = pipeline_pb2.Collect
COLLECT = Collect(min_feedback=3, dataset_id="corrections")


async def run_of(served: Served, pipeline: Any, stage: str) -> Any:
    with acting_as(ENGINEER):
        name = stage_of(pipeline, stage).resource
        return await served.runs.GetRun(run_service_pb2.GetRunRequest(name=name))


async def test_the_three_steps_of_instructgpt_are_one_lap(served: Served) -> None:
    """Corrections → policy, pairs → reward model on that policy, the policy against the reward model."""
    done = await served.reached(await served.create(dpo=None, reward=Step(), ppo=Step()), "SUCCEEDED")
    assert stage_of(done, "dpo").state == SKIPPED
    sft, reward, ppo = [await run_of(served, done, stage) for stage in ("sft", "reward", "ppo")]
    assert (reward.spec.base, list(reward.spec.datasets)) == (sft.name, [PAIRS])
    assert (ppo.spec.base, ppo.spec.reward_model) == (sft.name, reward.name)
    assert list(ppo.spec.datasets) == list(sft.spec.datasets)
    parents = served.world.versions[VERSION].parents
    assert parents.run == ppo.name
    assert set(parents.dataset_versions) == {*sft.spec.datasets, PAIRS}


async def test_ppo_goes_on_from_dpo_and_has_prompts_of_its_own(served: Served) -> None:
    lap = full_lap(reward=Step(), ppo=Step(datasets=[Source(version=SFT_ROWS)]))
    done = await served.reached(await served.start_lap(lap), "SUCCEEDED")
    ppo = await run_of(served, done, "ppo")
    assert (ppo.spec.base, list(ppo.spec.datasets)) == (stage_of(done, "dpo").resource, [SFT_ROWS])


async def test_without_pairs_there_is_no_reward_model_and_what_sft_made_is_registered(served: Served) -> None:
    served.world.batches[BATCH].preference_version = ""
    done = await served.reached(await served.create(dpo=None, reward=Step(), ppo=Step()), "SUCCEEDED")
    assert [stage_of(done, stage).state for stage in ("reward", "ppo")] == [SKIPPED, SKIPPED]
    assert served.world.versions[VERSION].parents.run == stage_of(done, "sft").resource


async def test_a_reward_model_is_never_what_is_registered(served: Served) -> None:
    """There are pairs, but no prompts."""
    lap = full_lap(feedback_batch=None, sft=None, dpo=None, reward=Step(datasets=[Source(version=PAIRS)]), ppo=Step())
    failed = await served.reached(await served.start_lap(lap), "FAILED")
    assert failed.failure_reason == "NOTHING_TRAINED"


async def test_a_lap_waits_until_enough_feedback_is_approved(served: Served) -> None:
    """Over a restart too; then it makes one batch of all that is there, and learns from that."""
    served.world.approved = 2
    pipeline = await served.create(feedback_batch=None, collect=COLLECT)
    await eventually(lambda: says(served, pipeline, "2 of 3 pieces of feedback are approved."))
    await served.stop()
    served.world.approved = 5
    await served.start()
    done = await served.reached(pipeline, "SUCCEEDED")
    batch = "projects/acme/batches/collected"
    assert stage_of(done, "collect").resource == batch
    assert served.world.made["batch"] == 1
    mix = served.world.dataset_versions[stage_of(done, "data").result["sft"]]
    assert [it.version for it in mix.mix_in] == [CORRECTIONS, SFT_ROWS]
    assert list(mix.derived_from) == [batch]
    request = pipeline_service_pb2.ListPipelinesRequest(parent="projects/acme", filter=f"feedback_batch={batch}")
    with acting_as(ENGINEER):
        found = await served.stub.ListPipelines(request)
    assert [it.name for it in found.pipelines] == [done.name]


async def says(served: Served, pipeline: Any, message: str) -> bool:
    return stage_of(await served.get(pipeline), "collect").message == message


async def test_a_lap_that_waits_for_people_can_be_cancelled(served: Served) -> None:
    pipeline = await served.create(feedback_batch=None, collect=COLLECT)
    await served.waits_in(pipeline, "collect")
    await served.cancel(pipeline)
    await served.reached(pipeline, "CANCELLED")
    assert served.world.made["batch"] == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ppo": Step()}, "REWARD_MODEL_REQUIRED"),
        ({"reward": Step()}, "REWARD_UNUSED"),
        ({"reward": Step(recipe="recipes/dpo-lora"), "ppo": Step()}, "RECIPE_MISMATCH"),
        ({"collect": COLLECT}, "ONE_SOURCE_OF_FEEDBACK"),
        ({"feedback_batch": None, "collect": Collect(dataset_id="corrections")}, "BAD_COLLECT"),
        ({"feedback_batch": None, "collect": Collect(min_feedback=3, dataset_id="No Slug")}, "BAD_COLLECT"),
    ],
)
async def test_a_lap_that_makes_no_sense_is_refused_at_once(
    served: Served, fields: dict[str, Any], reason: str
) -> None:
    request = pipeline_service_pb2.CreatePipelineRequest(parent="projects/acme", spec=full_lap(**fields))
    assert await refusal(served.stub.CreatePipeline(request), grpc.StatusCode.INVALID_ARGUMENT) == reason


async def test_a_reward_model_of_the_registry_can_be_named(served: Served) -> None:
    name = "projects/acme/models/judge/versions/1"
    served.world.versions[name] = version_pb2.Version()
    served.world.versions[name].CopyFrom(served.world.versions[BASE])
    served.world.versions[name].name, served.world.versions[name].architecture = name, "LlamaForSequenceClassification"
    served.world.dataset_versions.setdefault(SFT_ROWS, dataset_version(SFT_ROWS))
    done = await served.reached(await served.create(dpo=None, reward_model=name, ppo=Step()), "SUCCEEDED")
    assert (await run_of(served, done, "ppo")).spec.reward_model == name


def test_a_lap_of_an_older_version_has_no_such_stages() -> None:
    stages = [{"id": "data", "state": StageState.SUCCEEDED, "result": {}}, {"id": "sft", "state": StageState.PENDING}]
    old = Pipeline(
        name="projects/acme/pipelines/1", project="acme", number=1, state=PipelineState.RUNNING, spec={"base": BASE},
        stages=stages, base=BASE,
    )  # fmt: skip
    lap = Lap(old)
    assert (lap.facts("reward"), lap.made_by("sft", "ppo"), lap.feedback_batch, lap.result) == ({}, "", "", "")
