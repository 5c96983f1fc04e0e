"""Laps of the loop, from end to end and interrupted."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from gyre.evaluation.v1 import evaluation_pb2, verdict_pb2
from gyre.feedback.v1 import batch_pb2
from gyre.model_registry.v1 import version_pb2
from gyre.training_scheduler.v1 import pipeline_pb2, pipeline_service_pb2, run_service_pb2
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, STRANGER, eventually, expect_rpc_error

from services.training_scheduler import stages
from services.training_scheduler.models import STAGES
from services.training_scheduler.stages.gate import has_rows
from services.training_scheduler.tests.laps import (
    MODEL,
    SERVED,
    VERSION,
    Pipeline,
    Served,
    Source,
    Spec,
    Step,
    full_lap,
    refusal,
    stage_of,
)
from services.training_scheduler.tests.world import (
    BASE,
    BATCH,
    CORRECTIONS,
    OLD_VARIANT,
    PAIRS,
    SFT_ROWS,
    SUITE,
)

# Kind of long work: the stage that waits while it is held up.
WAITS = {
    "dataset_version": "data",
    "workload": "sft",
    "version": "register",
    "variant": "quantise",
    "evaluation": "evaluate",
    "target": "shift",
}


async def test_a_lap_goes_from_corrections_to_served(served: Served) -> None:
    created = await served.create()
    assert [stage.id for stage in created.stages] == list(STAGES)
    done = await served.reached(created, "SUCCEEDED")
    world = served.world
    skipped = [it.id for it in done.stages if it.state != pipeline_pb2.Stage.STATE_SUCCEEDED]
    assert skipped == ["collect", "reward", "ppo"]
    assert (done.model_version, done.verdict) == (VERSION, "projects/acme/verdicts/1")
    mix = world.dataset_versions[stage_of(done, "data").result["sft"]]
    assert [(it.version, it.max_rows) for it in mix.mix_in] == [(CORRECTIONS, 0), (SFT_ROWS, 80)]
    assert stage_of(done, "data").result["dpo"] == PAIRS
    parents = world.versions[VERSION].parents
    assert (parents.run, parents.base_version, parents.pipeline) == (stage_of(done, "dpo").resource, BASE, done.name)
    assert set(parents.dataset_versions) == {mix.name, PAIRS}
    alias = world.aliases[f"{MODEL}/aliases/production"]
    assert (alias.version, alias.variant) == (VERSION, SERVED)
    assert (world.splits, world.steps) == ([[(SERVED, 100)]], [[10, 50, 100]])
    assert done.cost_microusd == 2 * 700 + 2 * 5


async def test_preferences_are_trained_on_what_the_corrections_made(served: Served) -> None:
    done = await served.reached(await served.create(), "SUCCEEDED")
    with acting_as(ENGINEER):
        name = stage_of(done, "dpo").resource
        dpo = await served.runs.GetRun(run_service_pb2.GetRunRequest(name=name))
        request = run_service_pb2.ListRunsRequest(parent="projects/acme", filter=f"pipeline={done.name}")
        mine = await served.runs.ListRuns(request)
    assert dpo.spec.base == stage_of(done, "sft").resource
    assert (dpo.pipeline, dpo.created_by) == (done.name, ENGINEER.subject)
    assert mine.total_size == 2


async def test_both_sides_are_measured_as_they_are_served(served: Served) -> None:
    await served.reached(await served.create(), "SUCCEEDED")
    assert [it.variant for it in served.world.evaluations.values()] == [SERVED, OLD_VARIANT]


async def test_without_a_deployment_the_base_in_the_same_form_is_the_baseline(served: Served) -> None:
    done = await served.reached(await served.create(deployment=None, traffic_steps=None), "SUCCEEDED")
    assert stage_of(done, "evaluate").result["baseline_variant"] == f"{BASE}/variants/q8-0"
    assert stage_of(done, "shift").state == pipeline_pb2.Stage.STATE_SKIPPED


async def test_an_evaluation_of_the_baseline_that_is_there_is_used_again(served: Served) -> None:
    known = evaluation_pb2.Evaluation(
        name="projects/acme/evaluations/known",
        state=evaluation_pb2.Evaluation.STATE_SUCCEEDED,
        suite=SUITE,
        variant=OLD_VARIANT,
    )
    served.world.evaluations[known.name] = known
    done = await served.reached(await served.create(), "SUCCEEDED")
    assert stage_of(done, "evaluate").result[f"baseline/{SUITE}"] == known.name
    assert served.world.made["evaluation"] == 1


async def test_what_the_gate_refuses_is_not_promoted(served: Served) -> None:
    served.world.verdict_state = verdict_pb2.Verdict.STATE_FAILED
    refused = await served.reached(await served.create(), "REFUSED")
    assert (refused.failure_reason, refused.verdict) == ("GATE_REFUSED", "projects/acme/verdicts/1")
    assert refused.failure_message.startswith("Refused by the gate: exact on parks")
    assert served.world.aliases == {} and served.world.splits == []
    assert stage_of(refused, "promote").state == pipeline_pb2.Stage.STATE_PENDING


async def test_a_rule_that_no_suite_can_answer_is_a_no(served: Served) -> None:
    gate = pipeline_pb2.GateSettings(rules=[verdict_pb2.GateRule(slice="harbour")])
    refused = await served.reached(await served.create(gate=gate), "REFUSED")
    assert refused.failure_reason == "NO_ROWS"
    assert served.world.verdicts == {}


@pytest.mark.parametrize("kind", list(WAITS))
async def test_a_restart_in_the_middle_of_a_stage_doubles_nothing(served: Served, kind: str) -> None:
    served.world.holding = {kind}
    pipeline = await served.create()
    await served.waits_in(pipeline, WAITS[kind])
    await served.stop()
    served.world.holding = set()
    await served.start()
    await served.reached(pipeline, "SUCCEEDED")
    assert dict(served.world.made) == EVERYTHING_ONCE


@pytest.mark.parametrize(
    "calls",
    [
        {"CreateVersion", "EnsureWorkload", "CreateModel", "RegisterVersion", "CreateVariant", "CreateEvaluation"},
        {"CreateVerdict", "MoveAlias", "ShiftTraffic", "GetBatch", "GetEvaluation", "GetDeployment"},
    ],
)
async def test_an_effect_whose_note_was_lost_is_not_repeated(served: Served, calls: set[str]) -> None:
    pipeline = await served.create()
    served.world.lose = set(calls)
    await served.reached(pipeline, "SUCCEEDED")
    assert dict(served.world.made) == EVERYTHING_ONCE
    assert served.world.splits == [[(SERVED, 100)]]


EVERYTHING_ONCE = {
    "dataset_version": 1,
    "workload": 2,
    "model": 1,
    "version": 1,
    "variant": 2,
    "evaluation": 2,
    "verdict": 1,
    "alias_move": 1,
    "shift": 1,
}


async def test_a_failed_run_fails_the_lap_with_its_reason(served: Served) -> None:
    served.world.holding = {"workload"}
    pipeline = await served.create()

    async def started() -> Any:
        return next(iter(served.world.workloads.values()), None)

    workload = await eventually(started)
    workload.state, workload.failure_reason = type(workload).STATE_FAILED, "OUT_OF_MEMORY"
    failed = await served.reached(pipeline, "FAILED")
    assert (failed.failure_reason, stage_of(failed, "sft").state) == ("OUT_OF_MEMORY", pipeline_pb2.Stage.STATE_FAILED)


async def test_a_version_that_the_registry_refuses_fails_the_lap(served: Served) -> None:
    served.world.holding = {"version"}
    pipeline = await served.create()
    await served.waits_in(pipeline, "register")
    version = served.world.versions[VERSION]
    version.state, version.failure_reason = version_pb2.Version.STATE_FAILED, "UNSAFE_FORMAT"
    assert (await served.reached(pipeline, "FAILED")).failure_reason == "UNSAFE_FORMAT"


async def test_a_licence_that_the_project_refuses_stops_the_shift_with_the_reason_and_the_ancestor(
    served: Served,
) -> None:
    served.world.refused_licence = "projects/acme/datasets/d/versions/1 is under CC-BY-NC-4.0."
    failed = await served.reached(await served.create(), "FAILED")
    shift = stage_of(failed, "shift")
    assert (failed.failure_reason, shift.message) == ("LICENCE_REFUSED", served.world.refused_licence)


async def test_a_failed_measurement_stops_the_others(served: Served) -> None:
    served.world.holding = {"evaluation"}
    pipeline = await served.create()
    await served.waits_in(pipeline, "evaluate")
    evaluations = list(served.world.evaluations.values())
    evaluations[0].state, evaluations[0].failure_reason = evaluation_pb2.Evaluation.STATE_FAILED, "ENGINE_DIED"
    assert (await served.reached(pipeline, "FAILED")).failure_reason == "ENGINE_DIED"
    assert evaluations[1].state == evaluation_pb2.Evaluation.STATE_CANCELLED


async def test_the_gateway_goes_the_steps_one_change_after_another(served: Served) -> None:
    served.world.shifting = 2
    await served.reached(await served.create(), "SUCCEEDED")
    assert served.world.steps == [[10, 50, 100]]


async def test_a_rollout_that_fails_fails_the_lap_with_its_reason(served: Served) -> None:
    served.world.holding = {"target"}
    pipeline = await served.create()
    await served.waits_in(pipeline, "shift")
    rollout = await eventually(served.rollout)
    rollout.state, rollout.failure_reason = type(rollout).STATE_FAILED, "TARGET_FAILED"
    assert (await served.reached(pipeline, "FAILED")).failure_reason == "TARGET_FAILED"


async def test_a_cancelled_lap_takes_its_rollout_back(served: Served) -> None:
    served.world.holding = {"target"}
    pipeline = await served.create()
    await served.waits_in(pipeline, "shift")
    rollout = await eventually(served.rollout)
    await served.cancel(pipeline)
    await served.reached(pipeline, "CANCELLED")
    assert rollout.state == type(rollout).STATE_ROLLED_BACK


async def test_a_deployment_that_is_missing_is_made(served: Served) -> None:
    new = "projects/acme/deployments/new"
    await served.reached(await served.create(deployment=new), "SUCCEEDED")
    assert served.world.splits == [[(SERVED, 100)]]
    assert (served.world.made["deployment"], served.world.made["shift"]) == (1, 0)


@pytest.mark.parametrize("kind", list(WAITS))
async def test_a_lap_can_be_cancelled_in_every_stage(served: Served, kind: str) -> None:
    served.world.holding = {kind}
    pipeline = await served.create()
    await served.waits_in(pipeline, WAITS[kind])
    await served.cancel(pipeline)
    cancelled = await served.reached(pipeline, "CANCELLED")
    assert stage_of(cancelled, WAITS[kind]).state == pipeline_pb2.Stage.STATE_CANCELLED
    assert all(it.state >= type(it).STATE_FINISHED for it in served.world.workloads.values())
    assert all(it.state >= type(it).STATE_SUCCEEDED for it in served.world.evaluations.values())
    assert await refusal(
        served.stub.CancelPipeline(pipeline_service_pb2.CancelPipelineRequest(name=pipeline.name)),
        grpc.StatusCode.FAILED_PRECONDITION,
    ) == "ALREADY_ENDED"  # fmt: skip


async def test_preferences_are_skipped_when_the_batch_has_no_pairs(served: Served) -> None:
    served.world.batches[BATCH].preference_version = ""
    done = await served.reached(await served.create(), "SUCCEEDED")
    assert stage_of(done, "dpo").state == pipeline_pb2.Stage.STATE_SKIPPED
    assert served.world.versions[VERSION].parents.run == stage_of(done, "sft").resource


async def test_parts_that_are_left_out_are_skipped(served: Served) -> None:
    request = Spec(base=BASE, sft=Step(datasets=[Source(version=SFT_ROWS)]))
    with acting_as(ENGINEER):
        pipeline = await served.stub.CreatePipeline(
            pipeline_service_pb2.CreatePipelineRequest(parent="projects/acme", spec=request)
        )
    done = await served.reached(pipeline, "SUCCEEDED")
    ran = [it.id for it in done.stages if it.state == pipeline_pb2.Stage.STATE_SUCCEEDED]
    assert ran == ["data", "sft"]
    assert served.world.made["dataset_version"] == 0


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"base": None}, "INVALID_ARGUMENT", "BASE_REQUIRED"),
        ({"sft": None, "dpo": None}, "INVALID_ARGUMENT", "DATA_REQUIRED"),
        ({"traffic_steps": [50, 10, 100]}, "INVALID_ARGUMENT", "BAD_TRAFFIC_STEPS"),
        ({"traffic_steps": [10, 50]}, "INVALID_ARGUMENT", "BAD_TRAFFIC_STEPS"),
        ({"register_as": None}, "INVALID_ARGUMENT", "REGISTER_AS_REQUIRED"),
        ({"register_as": "hotline"}, "INVALID_ARGUMENT", "BAD_REFERENCE"),
        ({"deployment": "projects/other/deployments/hotline"}, "INVALID_ARGUMENT", "BAD_REFERENCE"),
        ({"suites": []}, "INVALID_ARGUMENT", "SUITES_REQUIRED"),
        ({"gate": pipeline_pb2.GateSettings()}, "INVALID_ARGUMENT", "RULES_REQUIRED"),
        ({"sft": Step(recipe="recipes/dpo-lora")}, "INVALID_ARGUMENT", "RECIPE_MISMATCH"),
        ({"base": f"{BASE}9"}, "NOT_FOUND", "BASE_NOT_FOUND"),
        ({"feedback_batch": f"{BATCH}9"}, "NOT_FOUND", "BATCH_NOT_FOUND"),
        ({"suites": [f"{SUITE}9"]}, "NOT_FOUND", "SUITE_NOT_FOUND"),
        ({"sft": Step(datasets=[Source(version=f"{SFT_ROWS}9")])}, "NOT_FOUND", "VERSION_NOT_FOUND"),
    ],
)
async def test_a_lap_that_cannot_work_is_refused_at_once(
    served: Served, fields: dict[str, Any], code: str, reason: str
) -> None:
    request = pipeline_service_pb2.CreatePipelineRequest(parent="projects/acme", spec=full_lap(**fields))
    assert await refusal(served.stub.CreatePipeline(request), grpc.StatusCode[code]) == reason
    assert dict(served.world.made) == {}


async def test_a_batch_that_is_still_built_is_refused(served: Served) -> None:
    served.world.batches[BATCH].state = batch_pb2.Batch.STATE_BUILDING
    request = pipeline_service_pb2.CreatePipelineRequest(parent="projects/acme", spec=full_lap())
    assert await refusal(served.stub.CreatePipeline(request), grpc.StatusCode.FAILED_PRECONDITION) == "BATCH_NOT_READY"


async def test_a_watcher_sees_a_lap_to_its_end(served: Served) -> None:
    pipeline = await served.create()
    with acting_as(ENGINEER):
        watched = [
            it async for it in served.stub.WatchPipeline(pipeline_service_pb2.WatchPipelineRequest(name=pipeline.name))
        ]
    assert watched[-1].state == Pipeline.STATE_SUCCEEDED


async def test_laps_of_another_project_are_not_found(served: Served) -> None:
    pipeline = await served.create()
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await served.stub.GetPipeline(pipeline_service_pb2.GetPipelineRequest(name=pipeline.name))
    await served.reached(pipeline, "SUCCEEDED")


def test_each_stage_has_its_function() -> None:
    assert tuple(stages.FUNCTIONS) == STAGES


def test_a_rule_for_all_but_one_slice_wants_rows_beside_it() -> None:
    scores = [evaluation_pb2.SliceScore(slice="parks"), evaluation_pb2.SliceScore(slice="")]
    assert has_rows(scores, "parks") and has_rows(scores, "")
    assert not has_rows(scores, "!parks") and not has_rows(scores, "harbour")
