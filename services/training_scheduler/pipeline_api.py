"""Parse, call, render: pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import json_format
from gyre.training_scheduler.v1 import pipeline_pb2, pipeline_service_pb2
from gyre.training_scheduler.v1.pipeline_service_pb2_grpc import PipelineServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.training_scheduler import pipelines, store
from services.training_scheduler.lap import spec_to_proto
from services.training_scheduler.models import Pipeline
from services.training_scheduler.pipeline_creation import create_pipeline


class PipelineApi(PipelineServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreatePipeline(
        self, request: pipeline_service_pb2.CreatePipelineRequest, _: Any
    ) -> pipeline_pb2.Pipeline:
        pipeline = await create_pipeline(
            self.context,
            project_of(request.parent),
            request.spec,
            display_name=request.display_name,
            request_id=request.request_id,
        )
        return to_proto(pipeline)

    async def GetPipeline(self, request: pipeline_service_pb2.GetPipelineRequest, _: Any) -> pipeline_pb2.Pipeline:
        async with self.db.transaction() as session:
            return to_proto(await resources.get(session, Pipeline, request.name))

    async def ListPipelines(
        self, request: pipeline_service_pb2.ListPipelinesRequest, _: Any
    ) -> pipeline_service_pb2.ListPipelinesResponse:
        async with self.db.transaction() as session:
            found = await store.pipeline_page(session, request)
        return pipeline_service_pb2.ListPipelinesResponse(
            pipelines=[to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelPipeline(
        self, request: pipeline_service_pb2.CancelPipelineRequest, _: Any
    ) -> pipeline_pb2.Pipeline:
        async with self.db.transaction() as session:
            pipeline = await pipelines.cancel(session, request.name, etag=request.etag)
        self.context.wake()
        return to_proto(pipeline)

    async def WatchPipeline(
        self, request: pipeline_service_pb2.WatchPipelineRequest, _: Any
    ) -> AsyncIterator[pipeline_pb2.Pipeline]:
        revision = 0
        while True:
            async with self.db.transaction() as session:
                pipeline = await resources.get(session, Pipeline, request.name)
            if pipeline.revision != revision:
                yield to_proto(pipeline)
            revision = pipeline.revision
            if pipeline.ended:
                return
            await asyncio.sleep(self.context.settings.watch_seconds)


def to_proto(pipeline: Pipeline) -> pipeline_pb2.Pipeline:
    return render(
        pipeline,
        pipeline_pb2.Pipeline,
        spec=spec_to_proto(pipeline.spec),
        stages=[_stage(it) for it in pipeline.stages],
    )


def _stage(values: dict[str, Any]) -> pipeline_pb2.Stage:
    return json_format.ParseDict(values | {"state": f"STATE_{values['state']}"}, pipeline_pb2.Stage())
