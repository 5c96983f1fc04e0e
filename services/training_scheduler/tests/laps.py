"""A lap, and the service that conducts it beside its neighbours."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import grpc
from gyre.evaluation.v1 import verdict_pb2
from gyre.inference_gateway.v1 import rollout_pb2
from gyre.training_scheduler.v1 import pipeline_pb2, pipeline_service_pb2
from gyre.training_scheduler.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.testing import ENGINEER, Platform, eventually, expect_rpc_error

from services.training_scheduler.tests.served import quick
from services.training_scheduler.tests.world import (
    BASE,
    BATCH,
    DEPLOYMENT,
    SFT_ROWS,
    SUITE,
    World,
)

Pipeline = pipeline_pb2.Pipeline
Spec = pipeline_pb2.PipelineSpec
Step = pipeline_pb2.TrainingStep
Source = pipeline_pb2.ReplaySource
MODEL = "projects/acme/models/hotline"
VERSION = f"{MODEL}/versions/1"
SERVED = f"{VERSION}/variants/q8-0"


class Served:
    """The service under test, which can be stopped and started again beside its neighbours."""

    def __init__(self, platform: Platform, world: World) -> None:
        self.platform, self.world = platform, world
        self.clients = platform.clients()
        self.stub: Any = self.clients.stub(PipelineServiceStub)
        self.runs: Any = self.clients.stub(RunServiceStub)
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Without the consumer group, whose joining takes seconds: events only wake, they decide nothing."""
        app = quick(self.platform, handlers={})
        await self._stack.enter_async_context(self.platform.serving(app))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def create(self, **fields: Any) -> Pipeline:
        return await self.start_lap(full_lap(**fields))

    async def start_lap(self, spec: Spec) -> Pipeline:
        request = pipeline_service_pb2.CreatePipelineRequest(parent="projects/acme", spec=spec)
        with acting_as(ENGINEER):
            return await self.stub.CreatePipeline(request)

    async def get(self, pipeline: Pipeline) -> Pipeline:
        with acting_as(ENGINEER):
            return await self.stub.GetPipeline(pipeline_service_pb2.GetPipelineRequest(name=pipeline.name))

    async def reached(self, pipeline: Pipeline, state: str) -> Pipeline:
        async def check() -> Pipeline | None:
            now = await self.get(pipeline)
            if now.state in range(Pipeline.STATE_SUCCEEDED, Pipeline.STATE_CANCELLED + 1):
                assert now.state == Pipeline.State.Value(f"STATE_{state}"), now
            return now if now.state == Pipeline.State.Value(f"STATE_{state}") else None

        found: Pipeline = await eventually(check, seconds=20)
        return found

    async def waits_in(self, pipeline: Pipeline, stage: str) -> None:
        async def check() -> bool:
            return stage_of(await self.get(pipeline), stage).state == pipeline_pb2.Stage.STATE_RUNNING

        await eventually(check, seconds=20)

    async def rollout(self) -> rollout_pb2.Rollout | None:
        """The one that runs, as the fake gateway holds it: a test may change it."""
        rollout = self.world.deployments[DEPLOYMENT].rollout
        return rollout if rollout.state == rollout_pb2.Rollout.STATE_RUNNING else None

    async def cancel(self, pipeline: Pipeline) -> None:
        with acting_as(ENGINEER):
            await self.stub.CancelPipeline(pipeline_service_pb2.CancelPipelineRequest(name=pipeline.name))


def full_lap(**fields: Any) -> Spec:
    lap = {
        "base": BASE,
        "feedback_batch": BATCH,
        "sft": Step(datasets=[Source(version=SFT_ROWS, max_rows=80)]),
        "dpo": Step(),
        "register_as": MODEL,
        "quantisations": ["Q8_0", "Q4_K_M"],
        "suites": [SUITE],
        "gate": pipeline_pb2.GateSettings(
            rules=[
                verdict_pb2.GateRule(slice="parks", min_lower_bound=0),
                verdict_pb2.GateRule(slice="!parks", min_lower_bound=-0.05),
            ]
        ),
        "alias": "production",
        "deployment": DEPLOYMENT,
        "traffic_steps": [10, 50, 100],
        "seed": 7,
    }
    return Spec(**{name: value for name, value in (lap | fields).items() if value is not None})


def stage_of(pipeline: Pipeline, stage: str) -> pipeline_pb2.Stage:
    return next(it for it in pipeline.stages if it.id == stage)


async def refusal(call: Any, code: grpc.StatusCode) -> str:
    with acting_as(ENGINEER):
        async with expect_rpc_error(code) as caught:
            await call
    return from_rpc(caught[0]).reason
