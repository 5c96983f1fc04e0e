"""Parse, call, render: experiments."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gyre.inference_gateway.v1 import deployment_pb2, experiment_pb2, experiment_service_pb2
from gyre.inference_gateway.v1.experiment_service_pb2_grpc import ExperimentServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.render import enum_name, render

from services.inference_gateway import service
from services.inference_gateway.api import shown
from services.inference_gateway.comparing import experiments
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.comparing import Experiment


class ExperimentApi(ExperimentServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateExperiment(
        self, request: experiment_service_pb2.CreateExperimentRequest, _: Any
    ) -> experiment_pb2.Experiment:
        async with self.db.transaction() as session:
            deployment = await service.existing(session, request.parent)
            experiment = await experiments.create(
                session,
                deployment,
                enum_name(request, "metric"),
                (request.a, request.b),
                min_effect=request.min_effect,
                error_chance=request.error_chance,
                threshold=request.threshold,
                request_id=request.request_id,
            )
        self.context.wake_event("follow_experiments").set()
        return to_proto(experiment)

    async def GetExperiment(
        self, request: experiment_service_pb2.GetExperimentRequest, _: Any
    ) -> experiment_pb2.Experiment:
        async with self.db.transaction() as session:
            return to_proto(await resources.get(session, Experiment, request.name))

    async def ListExperiments(
        self, request: experiment_service_pb2.ListExperimentsRequest, _: Any
    ) -> experiment_service_pb2.ListExperimentsResponse:
        async with self.db.transaction() as session:
            found = await traffic_store.experiment_page(session, request)
        return experiment_service_pb2.ListExperimentsResponse(
            experiments=[to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def StopExperiment(
        self, request: experiment_service_pb2.StopExperimentRequest, _: Any
    ) -> experiment_pb2.Experiment:
        async with self.db.transaction() as session:
            return to_proto(await experiments.stop(session, request.name, request.etag))

    async def PromoteWinner(
        self, request: experiment_service_pb2.PromoteWinnerRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            experiment = await experiments.locked(session, request.name)
            winner = await experiments.winner_of(session, experiment)
            deployment = await service.shift(session, experiment.deployment, [winner])
            experiment.rollout = deployment.rollout
        self.context.wake()
        return await shown(self.context, deployment)


def to_proto(experiment: Experiment) -> experiment_pb2.Experiment:
    a, b = experiments.count_of(experiment.a), experiments.count_of(experiment.b)
    history = [each | {"time": datetime.fromisoformat(each["time"])} for each in experiment.history]
    return render(
        experiment,
        experiment_pb2.Experiment,
        threshold=experiments.threshold_of(experiment),
        leader=experiments.better(a, b, experiment.metric),
        history=history,
    )
