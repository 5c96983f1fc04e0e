"""Asks the gateway what it kept of an answer."""

from __future__ import annotations

import grpc
from gyre.inference_gateway.v1 import completion_service_pb2
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre_kit.rpc import Clients

from services.feedback.service import KnownCompletion

NOT_YET = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def find_completion(clients: Clients, name: str) -> KnownCompletion | None:
    """None while the gateway does not know it or does not answer: feedback is kept as pending then."""
    gateway = clients.stub(CompletionServiceStub)
    try:
        kept = await gateway.GetCompletion(completion_service_pb2.GetCompletionRequest(name=name), timeout=3)
    except grpc.aio.AioRpcError as error:
        if error.code() in NOT_YET:
            return None
        raise
    return KnownCompletion(
        name=kept.name,
        messages=[{"role": message.role, "content": message.content} for message in kept.messages],
        answer=kept.answer,
        deployment=kept.deployment,
        model_version=kept.model_version,
        variant=kept.variant,
    )
