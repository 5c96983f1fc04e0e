"""What is too numerous for a graph is one node that says how many, and where to ask on."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from gyre.feedback.v1.batch_pb2 import Batch
from gyre.inference_gateway.v1.completion_service_pb2 import ListCompletionsResponse
from gyre.inference_gateway.v1.deployment_pb2 import Deployment

from services.model_registry import asking

P = "projects/acme"


class Others:
    """Clients whose every stub is this, answering with what it was given."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def stub(self, _: Any) -> Any:
        return self

    def __getattr__(self, call: str) -> Any:
        async def answer(request: Any) -> Any:
            self.asked.append(request)
            return self.answers[call]

        return answer


@pytest.mark.parametrize("count", [asking.MOST_SHOWN, asking.MOST_SHOWN + 1])
async def test_a_small_batch_is_its_feedback_and_a_large_one_is_counted(count: int) -> None:
    name = f"{P}/batches/b"
    batch = Batch(name=name, feedback=[f"{P}/feedback/{number}" for number in range(count)])
    answer = await asking.what_led_to_batch(Others(GetBatch=batch), name)  # type: ignore[arg-type]
    assert {(link.target, link.relation) for link in answer.links} == {(name, "gathered")}
    if count <= asking.MOST_SHOWN:
        assert [link.source for link in answer.links] == list(batch.feedback)
        return
    (crowd,) = answer.crowds
    assert (crowd.kind, crowd.count, crowd.name) == ("feedback", count, answer.links[0].source)
    assert unquote(crowd.list_path) == f"/{P}/feedback?filter=batch={name}"


async def test_the_answers_of_a_deployment_are_counted_and_never_read() -> None:
    name = f"{P}/deployments/hotline"
    others = Others(ListCompletions=ListCompletionsResponse(total_size=1234))
    answer = await asking.what_a_deployment_answered(others, name)  # type: ignore[arg-type]
    assert [(crowd.kind, crowd.count) for crowd in answer.crowds] == [("completions", 1234)]
    assert [(request.filter, request.page_size) for request in others.asked] == [(f"deployment={name}", 1)]
    silent = Others(ListCompletions=ListCompletionsResponse())
    assert (await asking.what_a_deployment_answered(silent, name)).links == []  # type: ignore[arg-type]


async def test_a_split_that_nobody_told_is_asked_for() -> None:
    name, variant = f"{P}/deployments/old", f"{P}/models/m/versions/1/variants/q8-0"
    deployment = Deployment(name=name, alias=f"{P}/models/m/aliases/champion")
    deployment.targets.add(variant=variant, weight_percent=100)
    deployment.targets.add(variant=f"{variant}-gone")
    answer = await asking.what_is_served(Others(GetDeployment=deployment), name)  # type: ignore[arg-type]
    assert [(link.source, link.relation, link.weight_percent) for link in answer.links] == [
        (variant, "served_by", 100),
        (deployment.alias, "followed_by", 0),
    ]
