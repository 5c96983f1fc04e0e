"""collect: until people have approved enough feedback, for days if need be. Then it is a batch, and the lap goes on."""

from __future__ import annotations

import grpc
from gyre.feedback.v1 import batch_pb2, batch_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre_kit.app import Context
from gyre_kit.errors import DomainError, from_rpc

from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting

Batch = batch_pb2.Batch


async def collect(context: Context, lap: Lap) -> StageResult:
    if not lap.spec.HasField("collect"):
        return skipped("Not asked for.")
    try:
        batch = await _batch(context, lap)
    except grpc.aio.AioRpcError as error:
        refused = from_rpc(error)
        if refused.reason in ("NOTHING_APPROVED", "TOO_FEW_APPROVED"):
            return _still_wanted(lap, refused)
        raise
    if batch.state == Batch.STATE_FAILED:
        return failed(batch.failure_reason, batch.failure_message, resource=batch.name)
    if batch.state == Batch.STATE_BUILDING:
        return waiting(f"Batch {batch.number} of {batch.count} pieces is being made.", resource=batch.name)
    return done(f"Batch {batch.number} of {batch.count} pieces.", resource=batch.name)


async def _batch(context: Context, lap: Lap) -> Batch:
    """The one that this lap asked for, as it is now, once there is enough for it."""
    stub = context.clients.stub(BatchServiceStub)
    asked = lap.spec.collect
    batch = await stub.CreateBatch(
        batch_service_pb2.CreateBatchRequest(
            parent=lap.parent,
            display_name=lap.title,
            dataset_id=asked.dataset_id,
            min_count=asked.min_feedback,
            request_id=lap.request_id("collect"),
        )
    )
    return await stub.GetBatch(batch_service_pb2.GetBatchRequest(name=batch.name))


def _still_wanted(lap: Lap, refused: DomainError) -> StageResult:
    facts = {"approved": refused.metadata.get("approved", "0"), "wanted": str(lap.spec.collect.min_feedback)}
    return waiting(f"{facts['approved']} of {facts['wanted']} pieces of feedback are approved.", facts=facts)
