from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from gyre.feedback.v1 import feedback_pb2, feedback_service_pb2
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, REVIEWER, STRANGER, VIEWER, Platform, eventually, expect_rpc_error

from services.feedback import main
from services.feedback.settings import Settings

Submit = feedback_service_pb2.SubmitFeedbackRequest


@pytest.fixture(scope="module")
async def clients(platform: Platform) -> AsyncIterator[Clients]:
    app = replace(main.app, settings=platform.settings(Settings))
    async with platform.serving(app):
        clients = platform.clients()
        yield clients
        await clients.close()
    await platform.empty("feedback")


@pytest.fixture
def feedback(clients: Clients) -> FeedbackServiceStub:
    return clients.stub(FeedbackServiceStub)


async def submit(stub: FeedbackServiceStub, **fields: object) -> feedback_pb2.Feedback:
    request = Submit(parent="projects/acme", completion="chatcmpl-9", rating=feedback_pb2.Feedback.RATING_THUMBS_UP)
    for name, value in fields.items():
        setattr(request, name, value)
    return await stub.SubmitFeedback(request)


async def test_a_viewer_may_say_something_but_not_decide(feedback: FeedbackServiceStub) -> None:
    with acting_as(VIEWER):
        said = await submit(feedback)
        assert said.state == feedback_pb2.Feedback.STATE_PENDING
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
            await feedback.ClaimFeedback(feedback_service_pb2.ClaimFeedbackRequest(name=said.name))


async def test_feedback_of_another_project_is_not_found(feedback: FeedbackServiceStub) -> None:
    with acting_as(ENGINEER):
        said = await submit(feedback)
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await feedback.GetFeedback(feedback_service_pb2.GetFeedbackRequest(name=said.name))
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await feedback.ListFeedback(feedback_service_pb2.ListFeedbackRequest(parent="projects/acme"))


async def test_a_call_without_a_token_is_unauthenticated(platform: Platform, feedback: FeedbackServiceStub) -> None:
    address = platform.settings().grpc_address("feedback")
    async with grpc.aio.insecure_channel(address) as channel, expect_rpc_error(grpc.StatusCode.UNAUTHENTICATED):
        await FeedbackServiceStub(channel).ListFeedback(feedback_service_pb2.ListFeedbackRequest())


async def test_a_list_comes_in_pages_and_can_be_filtered(feedback: FeedbackServiceStub) -> None:
    with acting_as(REVIEWER):
        names = {(await submit(feedback, slice="paged")).name for _ in range(5)}
        request = feedback_service_pb2.ListFeedbackRequest(parent="projects/acme", page_size=2, filter="slice=paged")
        seen: list[str] = []
        while True:
            reply = await feedback.ListFeedback(request)
            assert reply.total_size == 5
            seen += [row.name for row in reply.feedback]
            if not reply.next_page_token:
                break
            request.page_token = reply.next_page_token
    assert len(seen) == 5
    assert set(seen) == names


async def test_an_unknown_filter_field_says_which_ones_there_are(feedback: FeedbackServiceStub) -> None:
    with acting_as(REVIEWER):
        async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as caught:
            await feedback.ListFeedback(
                feedback_service_pb2.ListFeedbackRequest(parent="projects/acme", filter="colour=red")
            )
    assert "state" in (caught[0].details() or "")


async def test_metrics_count_calls(platform: Platform, feedback: FeedbackServiceStub) -> None:
    import httpx

    with acting_as(REVIEWER):
        await submit(feedback)

    async def counted() -> bool:
        async with httpx.AsyncClient() as http:
            port = platform.settings().metrics_port("feedback")
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
        return 'gyre_rpc_server_duration_seconds_count{code="OK",method="FeedbackService/SubmitFeedback"}' in text

    assert await eventually(counted)
