"""What other services say of their things, where a lineage passes through what the registry does not keep.

Rows, completions and feedback are too many to be nodes: beyond a few they are one node, counted, that says where to
ask on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.feedback.v1 import batch_service_pb2, feedback_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from gyre.inference_gateway.v1 import completion_service_pb2, deployment_service_pb2
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre.training_scheduler.v1 import run_service_pb2
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.names import parent_of
from gyre_kit.rpc import Clients

from services.model_registry.history import Link

MOST_SHOWN = 20  # of one batch's feedback; more are counted
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Crowd:
    """A node that stands for many things. `list_path`: REST address below /api/v1 that lists them."""

    name: str
    kind: str
    count: int
    list_path: str


@dataclass
class Answer:
    """Links of one thing, and the crowds among their ends."""

    links: list[Link] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)


async def what_led_to_data(clients: Clients, name: str) -> Answer:
    version = await ask(
        clients.stub(DatasetVersionServiceStub).GetVersion(dataset_versions.GetVersionRequest(name=name))
    )
    if version is None:
        return Answer()
    since = _time(version.create_time)
    derived = Answer([Link(source, name, "derived", since) for source in version.derived_from])
    return rows_of(name, version.row_count, since, derived)


def rows_of(name: str, count: int, since: datetime | None, answer: Answer | None = None) -> Answer:
    """The rows of a data set version, as one node."""
    answer = answer or Answer()
    if count:
        rows = Crowd(f"{name}/rows", "rows", count, f"/{name}/rows")
        answer.crowds.append(rows)
        answer.links.append(Link(rows.name, name, "belong_to", since))
    return answer


async def what_led_to_batch(clients: Clients, name: str) -> Answer:
    batch = await ask(clients.stub(BatchServiceStub).GetBatch(batch_service_pb2.GetBatchRequest(name=name)))
    if batch is None:
        return Answer()
    since = _time(batch.create_time)
    if len(batch.feedback) <= MOST_SHOWN:
        return Answer([Link(feedback, name, "gathered", since) for feedback in batch.feedback])
    path = f"/{parent_of(name)}/feedback?{urlencode({'filter': f'batch={name}'})}"
    crowd = Crowd(f"{name}/feedback", "feedback", len(batch.feedback), path)
    return Answer([Link(crowd.name, name, "gathered", since)], [crowd])


async def what_led_to_feedback(clients: Clients, name: str) -> Answer:
    feedback = await _feedback(clients, name)
    return (
        Answer([Link(feedback.completion, name, "said_about", _time(feedback.create_time))]) if feedback else Answer()
    )


async def what_led_to_completion(clients: Clients, name: str) -> Answer:
    stub = clients.stub(CompletionServiceStub)
    completion = await ask(stub.GetCompletion(completion_service_pb2.GetCompletionRequest(name=name)))
    if completion is None:
        return Answer()
    sources = {completion.variant or completion.model_version: "answered", completion.deployment: "passed_on"}
    since = _time(completion.create_time)
    return Answer([Link(source, name, relation, since) for source, relation in sources.items() if source])


async def what_led_to_run(clients: Clients, name: str) -> Answer:
    run = await ask(clients.stub(RunServiceStub).GetRun(run_service_pb2.GetRunRequest(name=name)))
    if run is None:
        return Answer()
    since = _time(run.create_time)
    links = [Link(dataset, name, "trained_on", since) for dataset in run.spec.datasets]
    return Answer([*links, Link(run.spec.base, name, "based_on", since)])


async def what_is_served(clients: Clients, name: str) -> Answer:
    """The split of now, of a deployment whose splits nobody has told since it is there."""
    stub = clients.stub(DeploymentServiceStub)
    deployment = await ask(stub.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=name)))
    if deployment is None:
        return Answer()
    shares = [
        (target.variant or target.model_version, target.weight_percent)
        for target in deployment.targets
        if target.weight_percent
    ]
    links = [Link(served, name, "served_by", None, weight) for served, weight in shares if served]
    if links and deployment.alias:
        links.append(Link(deployment.alias, name, "followed_by"))
    return Answer(links)


async def what_a_deployment_answered(clients: Clients, name: str) -> Answer:
    stub = clients.stub(CompletionServiceStub)
    only = f"deployment={name}"
    request = completion_service_pb2.ListCompletionsRequest(parent=parent_of(name), filter=only, page_size=1)
    reply = await stub.ListCompletions(request)
    if not reply.total_size:
        return Answer()
    path = f"/{parent_of(name)}/completions?{urlencode({'filter': only})}"
    crowd = Crowd(f"{name}/completions", "completions", reply.total_size, path)
    return Answer([Link(name, crowd.name, "passed_on")], [crowd])


async def what_was_said_about(clients: Clients, name: str) -> Answer:
    stub = clients.stub(FeedbackServiceStub)
    request = feedback_service_pb2.ListFeedbackRequest(
        parent=parent_of(name), filter=f"completion={name}", page_size=MOST_SHOWN
    )
    reply = await stub.ListFeedback(request)
    return Answer([Link(name, each.name, "said_about", _time(each.create_time)) for each in reply.feedback])


async def what_took_feedback(clients: Clients, name: str) -> Answer:
    feedback = await _feedback(clients, name)
    return Answer([Link(name, feedback.batch, "gathered")]) if feedback and feedback.batch else Answer()


async def ask(call: Awaitable[Reply]) -> Reply | None:
    """None where the thing is gone; a service that is away is an error of the whole walk."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


async def _feedback(clients: Clients, name: str) -> Any:
    stub = clients.stub(FeedbackServiceStub)
    return await ask(stub.GetFeedback(feedback_service_pb2.GetFeedbackRequest(name=name)))


def collections_of(name: str) -> str:
    """`datasets/versions` of `projects/p/datasets/d/versions/3`."""
    return "/".join(name.split("/")[2::2])


def known_to_others(names: Iterable[str], asked: dict[str, Asked]) -> list[tuple[Asked, str]]:
    return [(asked[key], name) for name in names if (key := collections_of(name)) in asked]


def _time(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds else None


Asked = Callable[[Clients, str], Awaitable[Answer]]
UPSTREAM: dict[str, Asked] = {
    "datasets/versions": what_led_to_data,
    "batches": what_led_to_batch,
    "feedback": what_led_to_feedback,
    "completions": what_led_to_completion,
    "runs": what_led_to_run,
    "deployments": what_is_served,
}
DOWNSTREAM: dict[str, Asked] = {
    "deployments": what_a_deployment_answered,
    "completions": what_was_said_about,
    "feedback": what_took_feedback,
}
OF_NOW = frozenset({what_is_served, what_a_deployment_answered, what_took_feedback})  # say nothing of any other time
