from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.model_registry.v1 import version_pb2
from gyre.model_registry.v1.events_pb2 import VersionRegistered
from gyre.training_scheduler.v1 import (
    method_service_pb2,
    recipe_service_pb2,
    run_pb2,
    run_report_service_pb2,
    run_service_pb2,
)
from gyre.training_scheduler.v1.method_service_pb2_grpc import MethodServiceStub
from gyre.training_scheduler.v1.recipe_service_pb2_grpc import RecipeServiceStub
from gyre.training_scheduler.v1.run_report_service_pb2_grpc import RunReportServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, STRANGER, VIEWER, Platform, eventually, expect_rpc_error
from gyre_trainers.methods import PPOSettings
from gyre_trainers.spec import Spec

from services.training_scheduler.tests.served import create_request, renew, serving
from services.training_scheduler.tests.world import (
    BASE,
    PAIRS,
    SFT_ROWS,
    World,
    card_node,
    cpu_node,
    model_version,
    populated,
    put_result,
)

Workload = workload_pb2.Workload
Run = run_pb2.Run
Command = run_report_service_pb2.HeartbeatResponse.Command


@pytest.fixture(scope="module")
async def up(platform: Platform) -> AsyncIterator[tuple[World, Context, Clients]]:
    world = populated()
    async with serving(platform, world) as context:
        clients = platform.clients()
        yield world, context, clients
        await clients.close()
    await platform.empty("training_scheduler")


@pytest.fixture
def world(up: Any) -> World:
    held: World = up[0]
    renew(held)
    return held


@pytest.fixture
def runs(up: Any, world: World) -> Any:
    return up[2].stub(RunServiceStub)


@pytest.fixture
def reports(up: Any) -> Any:
    return up[2].stub(RunReportServiceStub)


def worker(run: Run, attempt: int = 1) -> Identity:
    return Identity(
        subject=run.name,
        project="acme",
        role=Role.WORKER,
        workload=run.name.replace("runs", "workloads"),
        attempt=attempt,
    )


async def create(runs: Any, **fields: Any) -> Run:
    with acting_as(ENGINEER):
        return await runs.CreateRun(create_request(**fields))


async def reached(runs: Any, run: Run, state: str) -> Run:
    async def check() -> Run | None:
        with acting_as(ENGINEER):
            now = await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        return now if now.state == Run.State.Value(f"STATE_{state}") else None

    found: Run = await eventually(check, seconds=10)
    return found


def workload_of(world: World, run: Run) -> Workload:
    return world.workloads[run.name.replace("/runs/", "/workloads/")]


async def launched(world: World, run: Run) -> Workload:
    async def check() -> bool:
        return run.name.replace("/runs/", "/workloads/") in world.workloads

    await eventually(check, seconds=10)
    return workload_of(world, run)


async def count(runs: Any) -> int:
    with acting_as(ENGINEER):
        return int((await runs.ListRuns(run_service_pb2.ListRunsRequest(parent="projects/acme"))).total_size)


async def refusal(call: Any, code: grpc.StatusCode) -> str:
    with acting_as(ENGINEER):
        async with expect_rpc_error(code) as caught:
            await call
    return from_rpc(caught[0]).reason


async def test_a_run_comes_back_queued_with_defaults_estimate_and_pins(runs: Any, world: World) -> None:
    run = await create(runs, hyperparameters=run_pb2.Hyperparameters(epochs=1))
    assert run.state == Run.STATE_QUEUED
    assert (run.spec.recipe, run.spec.hyperparameters.lora_rank) == ("recipes/sft-lora", 8)
    assert (run.estimate.flavor, run.estimate.steps) == ("flavors/cpu", 10)
    assert world.pins[run.name] == {SFT_ROWS, BASE}


async def test_the_trainer_can_read_the_spec_that_the_launcher_completes(runs: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    injected = {
        "attempt": 2,
        "object_store": "file:///objects",
        "report_address": "127.0.0.1:8102",
        "credential_file": "/work/credential",
    }
    spec = Spec.model_validate(json.loads(workload.spec.spec_json) | injected)
    assert spec.output == f"runs/{run.name.rsplit('/', 1)[-1]}/2"
    assert (workload.spec.module, workload.spec.owner) == ("gyre_trainers.run", run.name)
    assert workload.spec.requests.cpu_milli == 1500


async def test_the_same_request_id_gives_the_same_run(runs: Any, world: World) -> None:
    request = create_request()
    request.request_id = "once"
    with acting_as(ENGINEER):
        first, second = await runs.CreateRun(request), await runs.CreateRun(request)
    assert first.name == second.name


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"method": 0}, "INVALID_ARGUMENT", "METHOD_REQUIRED"),
        ({"datasets": []}, "INVALID_ARGUMENT", "DATASETS_REQUIRED"),
        ({"base": ""}, "INVALID_ARGUMENT", "BASE_REQUIRED"),
        ({"hyperparameters": run_pb2.Hyperparameters(learning_rate=7)}, "INVALID_ARGUMENT", "BAD_HYPERPARAMETER"),
        ({"seed": -1}, "INVALID_ARGUMENT", "BAD_HYPERPARAMETER"),
        ({"method": run_pb2.METHOD_PPO}, "INVALID_ARGUMENT", "REWARD_MODEL_REQUIRED"),
        ({"recipe": "recipes/dpo-lora"}, "INVALID_ARGUMENT", "RECIPE_MISMATCH"),
        ({"recipe": "recipes/none"}, "NOT_FOUND", "RECIPE_NOT_FOUND"),
        ({"datasets": [f"{SFT_ROWS}9"]}, "NOT_FOUND", "VERSION_NOT_FOUND"),
        ({"base": f"{BASE}9"}, "NOT_FOUND", "BASE_NOT_FOUND"),
        ({"base": "projects/acme/runs/none"}, "NOT_FOUND", "BASE_NOT_FOUND"),
        ({"queue": "projects/acme/queues/none"}, "NOT_FOUND", "QUEUE_NOT_FOUND"),
        ({"datasets": [PAIRS]}, "INVALID_ARGUMENT", "TYPE_MISMATCH"),
    ],
)
async def test_bad_input_is_refused_with_a_reason_and_leaves_nothing(
    runs: Any, world: World, fields: dict[str, Any], code: str, reason: str
) -> None:
    before = await count(runs)
    assert await refusal(runs.CreateRun(create_request(**fields)), grpc.StatusCode[code]) == reason
    assert await count(runs) == before
    assert world.pins == {}


@pytest.mark.parametrize(
    ("method", "own", "field"),
    [
        (run_pb2.METHOD_PPO, {"cliprange": -1}, "hyperparameters.own.cliprange"),
        (run_pb2.METHOD_PPO, {"num_mini_batches": 3}, "hyperparameters.own.num_mini_batches"),
        (run_pb2.METHOD_PPO, {"kl_estimator": "k2"}, "hyperparameters.own.kl_estimator"),
        (run_pb2.METHOD_PPO, {"clip_range": 0.3}, "hyperparameters.own.clip_range"),
        (run_pb2.METHOD_SFT, {"cliprange": 0.3}, "hyperparameters.own.cliprange"),
    ],
)
async def test_a_setting_that_the_method_does_not_take_is_refused_by_its_name(
    runs: Any, world: World, method: int, own: dict[str, Any], field: str
) -> None:
    wanted = run_pb2.Hyperparameters()
    wanted.own.update(own)
    request = create_request(method=method, hyperparameters=wanted, reward_model=BASE)
    with acting_as(ENGINEER):
        async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as caught:
            await runs.CreateRun(request)
    refused = from_rpc(caught[0])
    assert (refused.reason, refused.metadata["field"]) == ("BAD_HYPERPARAMETER", field)
    assert field in refused.message


async def test_a_method_s_own_settings_reach_the_trainer_with_its_defaults(runs: Any, world: World) -> None:
    scorer = f"{BASE}9"
    world.versions[scorer] = model_version(scorer, "LlamaForSequenceClassification")
    wanted = run_pb2.Hyperparameters(batch_size=4)
    wanted.own.update({"cliprange": 0.3, "num_mini_batches": 2})
    run = await create(runs, method=run_pb2.METHOD_PPO, reward_model=scorer, hyperparameters=wanted)
    assert run.spec.hyperparameters.own["lam"] == 0.95
    workload = await launched(world, run)
    given = json.loads(workload.spec.spec_json)
    injected = {"attempt": 1, "object_store": "file:///o", "report_address": "127.0.0.1:1", "credential_file": "/c"}
    settings = Spec.model_validate(given | injected).hyperparameters.own_of(PPOSettings)
    assert settings == PPOSettings(cliprange=0.3, num_mini_batches=2)


async def test_a_reward_model_of_another_tokenizer_is_refused_before_anything_is_pinned(
    runs: Any, world: World
) -> None:
    scorer = f"{BASE}9"
    world.versions[scorer] = model_version(scorer, "LlamaForSequenceClassification")
    for name, vocabulary in ((BASE, {"a": 0, "b": 1}), (scorer, {"b": 0, "a": 1})):
        prefix = f"registry/{name.replace('/', '-')}"
        files = [{"path": "tokenizer.json", "sha256": "none"}]
        await world.store.put(f"{prefix}/tokenizer.json", json.dumps({"model": {"vocab": vocabulary}}).encode())
        await world.store.put(f"{prefix}/manifest.json", json.dumps({"files": files}).encode())
        world.versions[name].uri = f"gyre://{prefix}/manifest.json"
    asked = create_request(method=run_pb2.METHOD_PPO, reward_model=scorer)
    assert await refusal(runs.CreateRun(asked), grpc.StatusCode.INVALID_ARGUMENT) == "TOKENIZER_MISMATCH"
    assert world.pins == {}


async def test_a_preset_changes_the_recipe_and_what_is_set_counts_before_it(runs: Any, world: World) -> None:
    run = await create(runs, preset=run_pb2.PRESET_BEST, hyperparameters=run_pb2.Hyperparameters(lora_rank=4))
    asked = run.spec.hyperparameters
    assert (asked.lora_rank, asked.lora_alpha, asked.epochs) == (4, 64, 6)
    assert asked.batch_size * asked.gradient_accumulation_steps == 16
    assert run.spec.preset == run_pb2.PRESET_BEST


async def test_every_method_says_what_can_be_set(up: Any) -> None:
    with acting_as(VIEWER):
        listed = (
            await up[2]
            .stub(MethodServiceStub)
            .ListMethods(method_service_pb2.ListMethodsRequest(parent="projects/acme"))
        )
    assert {it.method for it in listed.methods} == {number for number in run_pb2.Method.values() if number}
    ppo = next(it for it in listed.methods if it.method == run_pb2.METHOD_PPO)
    clip = ppo.settings_schema["properties"]["own"]["properties"]["cliprange"]
    assert (clip["default"], clip["exclusiveMinimum"], clip["x-zh"]["title"]) == (0.2, 0, "策略裁剪范围")
    rule = ppo.health_schema["properties"]["reward_hacking"]
    assert (rule["default"], list(rule["enum"])) == ("WARN", ["WARN", "STOP", "ROLL_BACK", "LOWER_LEARNING_RATE"])
    assert "divergence" not in ppo.health_schema["properties"]


async def test_a_base_of_another_architecture_is_refused(runs: Any, world: World) -> None:
    world.versions[BASE].architecture = "BertModel"
    refused = await refusal(runs.CreateRun(create_request()), grpc.StatusCode.INVALID_ARGUMENT)
    assert refused == "ARCHITECTURE_UNSUPPORTED"


async def test_what_fits_nowhere_is_refused_before_anything_is_pinned(runs: Any, world: World) -> None:
    world.nodes = [cpu_node(memory_bytes=2**29)]
    assert await refusal(runs.CreateRun(create_request()), grpc.StatusCode.FAILED_PRECONDITION) == "FITS_NOWHERE"
    assert world.pins == {}


async def test_an_estimate_needs_no_run(runs: Any, world: World) -> None:
    spec = create_request().spec
    with acting_as(VIEWER):
        estimate = await runs.EstimateRun(run_service_pb2.EstimateRunRequest(parent="projects/acme", spec=spec))
    assert (estimate.steps, estimate.flavor) == (30, "flavors/cpu")
    assert world.pins == {}


async def test_an_estimate_has_every_flavor_with_its_parts_and_why_one_does_not_fit(runs: Any, world: World) -> None:
    world.nodes = [cpu_node(memory_bytes=2**29), card_node()]
    with acting_as(VIEWER):
        request = run_service_pb2.EstimateRunRequest(parent="projects/acme", spec=create_request().spec)
        estimate = await runs.EstimateRun(request)
    card, cpu = estimate.flavors
    assert (card.flavor, card.fits, card.fastest, card.cheapest, card.gpu) == ("flavors/h100", True, True, True, 1)
    assert (cpu.flavor, cpu.fits, cpu.reason) == ("flavors/cpu", False, "NOT_ENOUGH_MEMORY")
    assert cpu.memory_bytes > cpu.available_bytes == 2**29
    assert sum(part.bytes for part in estimate.parts) == estimate.memory_bytes == card.memory_bytes
    assert [part.bytes for part in estimate.parts] == sorted((part.bytes for part in estimate.parts), reverse=True)
    assert estimate.tokens_per_second > 0


async def test_a_run_that_would_not_fit_is_created_with_settings_that_do(runs: Any, world: World) -> None:
    wanted = run_pb2.Hyperparameters(batch_size=256, max_length=512, lora_rank=0)
    run = await create(runs, hyperparameters=wanted)
    found = run.spec.hyperparameters
    assert found.activation_checkpointing and found.batch_size < 256
    assert found.batch_size * found.gradient_accumulation_steps == 256
    assert [choice.setting for choice in run.estimate.choices] == [
        "activation_checkpointing",
        "batch_size",
        "gradient_accumulation_steps",
    ]
    assert run.estimate.memory_bytes <= 24 * 2**30
    spec = json.loads((await launched(world, run)).spec.spec_json)
    assert spec["hyperparameters"]["batch_size"] == found.batch_size
    assert spec["hyperparameters"]["activation_checkpointing"] is True


async def test_a_run_goes_from_queue_to_result_and_lets_its_inputs_go(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    assert (await reached(runs, run, "QUEUED")).waiting_reason in ("", "NO_FREE_CPU")
    workload.state, workload.attempt = Workload.STATE_RUNNING, 1
    await reached(runs, run, "STARTING")
    with acting_as(worker(run)):
        beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1, step=3, total_steps=60)
        reply = await reports.Heartbeat(beat)
        assert reply.command == Command.COMMAND_CONTINUE and reply.token
        point = run_pb2.MetricPoint(step=3, metrics={"loss": 1.5})
        await reports.ReportMetrics(
            run_report_service_pb2.ReportMetricsRequest(name=run.name, attempt=1, points=[point])
        )
    assert (await reached(runs, run, "RUNNING")).loss == 1.5
    await world.finish_workload(workload.name)
    done = await reached(runs, run, "SUCCEEDED")
    assert done.output_uri == f"gyre://runs/{run.name.rsplit('/', 1)[-1]}/1"
    assert done.output_digest.startswith("sha256:") and done.step == 60 and done.cost_microusd == 700

    async def let_go() -> bool:
        return not world.pins[run.name]

    await eventually(let_go, seconds=10)


async def test_a_renewed_token_works_and_is_not_sent_again(up: Any, runs: Any, world: World) -> None:
    run = await create(runs)
    beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1)
    with acting_as(worker(run)):
        renewed = (await up[2].stub(RunReportServiceStub).Heartbeat(beat)).token
    async with grpc.aio.insecure_channel(up[1].settings.grpc_address("training_scheduler")) as channel:
        stub = RunReportServiceStub(channel)
        again = await stub.Heartbeat(beat, metadata=[("authorization", f"Bearer {renewed}")])
    assert renewed and again.token == ""


async def test_a_worker_may_do_nothing_but_report_on_itself(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(worker(run)):
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
            await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
    other = await create(runs)
    with acting_as(worker(other)):
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED) as caught:
            await reports.Heartbeat(run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1))
    assert from_rpc(caught[0]).reason == "WRONG_RUN"


async def test_a_stale_attempt_is_aborted_on_the_wire(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    for attempt in (2, 1):
        with acting_as(worker(run, attempt)):
            request = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=attempt, total_steps=9)
            if attempt == 2:
                await reports.Heartbeat(request)
                continue
            async with expect_rpc_error(grpc.StatusCode.ABORTED) as caught:
                await reports.Heartbeat(request)
    assert from_rpc(caught[0]).reason == "STALE_ATTEMPT"


async def test_a_completion_must_name_the_manifest_that_is_there(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    folder = f"gyre://runs/{run.name.rsplit('/', 1)[-1]}"

    async def complete(uri: str, digest: str) -> str:
        request = run_report_service_pb2.CompleteRunRequest(
            name=run.name, attempt=1, manifest_uri=uri, manifest_digest=digest, steps=60
        )
        with acting_as(worker(run)):
            try:
                await reports.CompleteRun(request)
            except grpc.aio.AioRpcError as error:
                return from_rpc(error).reason
        return ""

    assert await complete(f"{folder}/2/manifest.json", "sha256:00") == "MANIFEST_OUTSIDE_PREFIX"
    assert await complete(f"{folder}/1/manifest.json", "sha256:00") == "MANIFEST_MISSING"
    digest = await put_result(world.store, run.name, 1)
    assert await complete(f"{folder}/1/manifest.json", "sha256:00") == "DIGEST_MISMATCH"
    assert await complete(f"{folder}/1/manifest.json", digest) == ""


@pytest.mark.parametrize("damage", ["no manifest", "another attempt's", "a changed file"])
async def test_a_finished_workload_without_a_whole_result_fails_the_run(runs: Any, world: World, damage: str) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    key = f"runs/{run.name.rsplit('/', 1)[-1]}"
    assert world.store is not None
    if damage == "another attempt's":
        await put_result(world.store, run.name, 1)
    if damage == "a changed file":
        await put_result(world.store, run.name, 2)
        await world.store.put(f"{key}/2/model/model.safetensors", b"other weights")
    workload.state, workload.attempt = Workload.STATE_FINISHED, 2
    failed = await reached(runs, run, "FAILED")
    assert failed.failure_reason == ("DIGEST_MISMATCH" if damage == "a changed file" else "MANIFEST_MISSING")
    assert failed.failure_message


async def test_a_failed_workload_fails_the_run_with_its_reason(runs: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    workload.state, workload.failure_reason = Workload.STATE_FAILED, "OUT_OF_MEMORY"
    assert (await reached(runs, run, "FAILED")).failure_reason == "OUT_OF_MEMORY"


async def test_a_run_in_any_state_can_be_cancelled_and_the_stop_is_waited_for(
    runs: Any, reports: Any, world: World
) -> None:
    world.holding.add("stop")
    run = await create(runs)
    workload = await launched(world, run)
    with acting_as(ENGINEER):
        await runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name))

    async def asked() -> bool:
        return workload.state == Workload.STATE_STOPPING

    await eventually(asked, seconds=10)
    with acting_as(worker(run)):
        beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1, step=1, total_steps=9)
        assert (await reports.Heartbeat(beat)).command == Command.COMMAND_STOP
    await reached(runs, run, "CANCELLING")
    workload.state = Workload.STATE_CANCELLED
    await reached(runs, run, "CANCELLED")
    assert await refusal(
        runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name)), grpc.StatusCode.FAILED_PRECONDITION
    ) == "ALREADY_ENDED"  # fmt: skip


async def test_a_lost_reply_of_the_scheduler_makes_no_second_workload(runs: Any, world: World) -> None:
    world.lose = {"EnsureWorkload", "GetWorkload"}
    world.auto = True
    run = await create(runs)
    await reached(runs, run, "SUCCEEDED")
    assert world.made["workload"] == 1


async def published(context: Context, subject: str, event: Any) -> None:
    """`event` on its topic, as another service's relay would send it."""
    sent = events.envelope(subject, event, context.clock.now())
    component = events.component_of(event.DESCRIPTOR)
    await context.broker.ensure_topics(component)
    producer = context.broker.producer()
    await producer.start()
    try:
        headers = [(name, value.encode()) for name, value in sent.headers.items()]
        await producer.send_and_wait(f"gyre.{component}", key=subject.encode(), value=sent.payload, headers=headers)
    finally:
        await producer.stop()


async def test_a_run_remembers_what_it_was_registered_as(up: Any, runs: Any, world: World) -> None:
    run = await create(runs)
    version = "projects/acme/models/hotline/versions/3"
    event = VersionRegistered(name=version, parents=version_pb2.Parents(run=run.name))
    event.register_time.GetCurrentTime()
    await published(up[1], version, event)

    async def remembered() -> bool:
        with acting_as(ENGINEER):
            now = await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        return bool(now.model_version == version)

    await eventually(remembered, seconds=10)


async def test_a_watcher_sees_every_point_and_the_end(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    with acting_as(worker(run)):
        points = [run_pb2.MetricPoint(step=step, metrics={"loss": 1 / step}) for step in range(1, 6)]
        await reports.ReportMetrics(
            run_report_service_pb2.ReportMetricsRequest(name=run.name, attempt=1, points=points)
        )
    seen: list[int] = []
    with acting_as(ENGINEER):
        async for update in runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name)):
            seen += [point.step for point in update.points]
            if seen and workload.state == Workload.STATE_QUEUED:
                await world.finish_workload(workload.name)
        page = await runs.ListMetrics(run_service_pb2.ListMetricsRequest(parent=run.name, page_size=2, after_step=1))
    assert seen == [1, 2, 3, 4, 5]
    assert update.run.state == Run.STATE_SUCCEEDED
    assert ([it.step for it in page.points], page.next_page_token, page.total_size) == ([2, 3], "3", 4)


async def test_runs_of_another_project_are_not_found(runs: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.ListMetrics(run_service_pb2.ListMetricsRequest(parent=run.name))


async def test_a_call_without_a_token_is_unauthenticated(up: Any) -> None:
    address = up[1].settings.grpc_address("training_scheduler")
    async with grpc.aio.insecure_channel(address) as channel, expect_rpc_error(grpc.StatusCode.UNAUTHENTICATED):
        await RunServiceStub(channel).ListRuns(run_service_pb2.ListRunsRequest())


async def test_runs_are_listed_by_state_and_text(runs: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(VIEWER):
        request = run_service_pb2.ListRunsRequest(
            parent="projects/acme", filter="method=SFT AND state=QUEUED", query=str(run.number), page_size=1
        )
        assert (await runs.ListRuns(request)).runs[0].name == run.name


async def test_recipes_come_with_every_value_set(up: Any) -> None:
    with acting_as(VIEWER):
        reply = await up[2].stub(RecipeServiceStub).ListRecipes(
            recipe_service_pb2.ListRecipesRequest(parent="projects/acme")
        )  # fmt: skip
    assert reply.recipes[0].name == "recipes/sft-lora"
    assert reply.recipes[0].hyperparameters.learning_rate == 1e-3
    assert {it.method for it in reply.recipes} == set(run_pb2.Method.values()) - {run_pb2.METHOD_UNSPECIFIED}
