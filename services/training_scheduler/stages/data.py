"""data: what the lap learns from. The batch's rows and the old ones are mixed into one new version for each step."""

from __future__ import annotations

from collections.abc import Sequence

from gyre.dataset.v1 import version_pb2, version_service_pb2
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub
from gyre.feedback.v1 import batch_pb2, batch_service_pb2
from gyre.feedback.v1.batch_service_pb2_grpc import BatchServiceStub
from gyre.training_scheduler.v1 import pipeline_pb2
from gyre_kit.app import Context
from gyre_kit.names import parent_of

from services.training_scheduler.lap import Lap, StageResult, done, failed, waiting
from services.training_scheduler.models import TRAINING

Version = version_pb2.Version
Source = pipeline_pb2.ReplaySource


async def prepare(context: Context, lap: Lap) -> StageResult:
    batch = batch_pb2.Batch()
    if lap.feedback_batch:
        request = batch_service_pb2.GetBatchRequest(name=lap.feedback_batch)
        batch = await context.clients.stub(BatchServiceStub).GetBatch(request)
    said = {"sft": batch.sft_version, "dpo": batch.preference_version, "reward": batch.preference_version}
    versions: dict[str, Version] = {}
    for step in TRAINING:
        if (asked := lap.training(step)) is not None:
            sources = [Source(version=said[step])] if said.get(step) else []
            sources += asked.datasets
            if sources:
                versions[step] = await _one_version(context, lap, step, sources)
            elif step == "ppo" and "sft" in versions:
                versions[step] = versions["sft"]  # its prompts
    return _outcome(versions)


async def _one_version(context: Context, lap: Lap, step: str, sources: Sequence[Source]) -> Version:
    """The only source as it is, or a new version that mixes all of them in, each row on its side of the split."""
    stub = context.clients.stub(VersionServiceStub)
    if len(sources) == 1 and not sources[0].max_rows:
        return await stub.GetVersion(version_service_pb2.GetVersionRequest(name=sources[0].version))
    return await stub.CreateVersion(
        version_service_pb2.CreateVersionRequest(
            parent=parent_of(sources[0].version),
            display_name=f"{lap.title}: {step} mix",
            split_settings=version_pb2.SplitSettings(test_fraction=0.0, seed=lap.spec.seed),
            mix_in=[version_pb2.MixIn(version=it.version, max_rows=it.max_rows) for it in sources],
            derived_from=[lap.feedback_batch] if lap.feedback_batch else [],
            request_id=lap.request_id(f"data-{step}"),
        )
    )


def _outcome(versions: dict[str, Version]) -> StageResult:
    names = {step: version.name for step, version in versions.items()}
    resource = next(iter(names.values()), "")
    for version in versions.values():
        if version.state in (Version.STATE_FAILED, Version.STATE_DELETED):
            reason = version.failure_reason or "VERSION_NOT_READY"
            return failed(reason, f"{version.name}: {version.failure_message or 'it was deleted'}", resource=resource)
    if any(version.state != Version.STATE_READY for version in versions.values()):
        return waiting("Mixing the corrections with old rows.", resource=resource, facts=names)
    counts = ", ".join(f"{version.train_count} rows for {step}" for step, version in versions.items())
    return done(f"Ready: {counts or 'no rows'}.", resource=resource, facts=names)
