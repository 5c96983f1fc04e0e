"""Use cases of runs: accept, follow, stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gyre.training_scheduler.v1 import events_pb2, run_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Denied, Invalid, NotFound, Precondition
from gyre_kit.names import last
from gyre_kit.outbox import emit
from gyre_kit.states import transition

from services.training_scheduler import store
from services.training_scheduler.models import RUN_GOES_ON, Run, RunState


class MethodRequired(Invalid):
    """A run needs a method: SFT, CPT, DPO, REWARD, PPO, KTO, ORPO or GRPO, or a recipe that has one."""


class DatasetsRequired(Invalid):
    """A run needs at least one data set version to train on."""


class BaseRequired(Invalid):
    """Name the model version or variant to start from."""


class RewardModelRequired(Invalid):
    """PPO, and GRPO without graders, need the model version that a REWARD run made."""


class TokenizerMismatch(Invalid):
    """The reward model has another tokenizer than the base; train one from this base, or from one with the same."""


class RecipeNotFound(NotFound):
    """There is no such recipe; the list of recipes has all of them."""


class RecipeMismatch(Invalid):
    """The recipe is for another method."""


class BadHyperparameter(Invalid):
    """A hyperparameter is out of its range."""


class VersionNotFound(NotFound):
    """There is no such data set version in this project; `gyre datasets versions` lists those there are."""


class VersionNotReady(Precondition):
    """The data set version is not ready to train on; wait for it, or pick another."""


class NoTrainRows(Precondition):
    """The data set version has no row on its train side; pick another, or split it with a smaller test share."""


class TypeMismatch(Invalid):
    """The method trains on data sets of another type; pick one of the type that it needs, or another method."""


class BaseNotFound(NotFound):
    """There is no such model version, variant or run in this project; `gyre models versions` lists those there are."""


class BaseNotReady(Precondition):
    """The base is not ready; wait for it, or pick another."""


class ArchitectureUnsupported(Invalid):
    """This method cannot train a model of that architecture or format; start from one of the kind that it needs."""


class QueueNotFound(NotFound):
    """There is no such queue in this project; leave it empty for the default one."""


class FitsNowhere(Precondition):
    """No node of this installation could ever hold this run."""


class AlreadyEnded(Precondition):
    """It has ended already; there is nothing to stop."""


class CheckpointNotFound(NotFound):
    """The run has no checkpoint at that step; `gyre runs checkpoints` lists those it has."""


class CheckpointGone(Precondition):
    """The checkpoint's files are no longer kept; take a later one."""


class ForkUnsupported(Invalid):
    """A run of this method cannot begin with another's checkpoint; start a new one from the other's result."""


class WrongRun(Denied):
    """The token is for another run or attempt."""


@dataclass(frozen=True)
class NewRun:
    """A run as it was planned: everything that never changes again."""

    name: str
    project: str
    display_name: str
    created_by: str
    request_id: str
    pipeline: str
    spec: dict[str, Any]
    inputs: dict[str, Any]
    base_version: str
    base_parameters: int
    estimate: dict[str, Any]
    requests: dict[str, Any]
    pins: list[str]
    forked_from: str = ""


@dataclass(frozen=True)
class Seen:
    """What a workload looked like when it was read."""

    state: str
    attempt: int = 0
    waiting_reason: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    cost_microusd: int = 0
    held_seconds: float = 0.0
    flavor: str = ""
    held: bool = False


@dataclass(frozen=True)
class Output:
    """What the object store holds of an attempt. `fault` is empty if its manifest vouches for all of it."""

    uri: str = ""
    digest: str = ""
    content_digest: str = ""  # of paths and contents alone
    steps: int = 0
    metrics: dict[str, float] | None = None
    fault: str = ""
    message: str = ""


async def accept(session: Session, new: NewRun) -> Run:
    """Keeps a planned run, QUEUED; the one that an earlier call with the same request id made, if there is one."""
    number = await resources.next_number(session, Run, new.project)
    if earlier := await resources.by_request(session, Run, new.project, new.request_id):
        return earlier
    run = Run(
        **{**vars(new), "request_id": new.request_id or None},
        number=number,
        state=RunState.QUEUED,
        method=new.spec["method"],
        base=new.spec["base"],
        register_as=new.spec.get("register_as", ""),
        total_steps=new.estimate["steps"],
    )
    session.add(run)
    await session.flush()
    await _emit_queued(session, run)
    return run


async def _emit_queued(session: Session, run: Run) -> None:
    queued = events_pb2.RunQueued(
        name=run.name,
        number=run.number,
        method=method_number(run),
        base=run.base,
        datasets=run.spec["datasets"],
        seed=int(run.spec["seed"]),
        queue=run.spec.get("queue", ""),
        pipeline=run.pipeline,
        forked_from=run.forked_from,
    )
    queued.queue_time.FromDatetime(session.clock.now())
    await emit(session, run.name, queued)


async def cancel(session: Session, name: str, *, etag: str = "") -> Run:
    """Asks for a stop; asking again changes nothing. Raises: NotFound; EtagMismatch; AlreadyEnded."""
    run = await resources.get(session, Run, name, lock=True)
    resources.check_etag(run, etag)
    if run.state == RunState.CANCELLING:
        return run
    if run.ended:
        raise AlreadyEnded(name=name, state=run.state)
    run.due = None
    await transition(session, run, RunState.CANCELLING)
    return run


async def follow(session: Session, run: Run, seen: Seen, output: Output | None) -> None:
    """Brings a run up to what its workload did. `output` is what a FINISHED workload's attempt left behind.

    SUCCEEDED exactly when the workload finished attempt n and the manifest of attempt n is there and verified.
    """
    if run.ended:
        return
    run.attempt = max(run.attempt, seen.attempt)
    run.cost_microusd = max(run.cost_microusd, seen.cost_microusd)
    run.held_seconds, run.flavor = max(run.held_seconds, seen.held_seconds), seen.flavor or run.flavor
    run.waiting_reason = seen.waiting_reason if seen.state == "QUEUED" and not seen.held else ""
    if output is not None and not output.fault:
        await succeed(session, run, output)
    elif run.state == RunState.CANCELLING:
        if seen.state in ("FINISHED", "FAILED", "CANCELLED"):
            await cancelled(session, run)
    elif output is not None:
        await fail(session, run, output.fault, output.message)
    elif seen.state == "FAILED":
        await fail(session, run, run.stopped_by or seen.failure_reason or "WORKLOAD_FAILED", seen.failure_message)
    elif seen.state == "CANCELLED":
        await cancelled(session, run)
    elif run.state in RUN_GOES_ON:
        await _keep_pace(session, run, seen)
    elif run.state == RunState.PAUSING and seen.held and seen.state == "QUEUED":
        await _pause(session, run)


async def succeed(session: Session, run: Run, output: Output) -> None:
    run.output_uri, run.output_digest, run.content_digest = output.uri, output.digest, output.content_digest
    run.stopped_early = run.state == RunState.STOPPING and output.steps < run.total_steps
    run.step = run.total_steps = output.steps if run.stopped_early else max(run.step, output.steps)
    run.metrics = {**run.metrics, **(output.metrics or {})}
    await _end(session, run)
    succeeded = events_pb2.RunSucceeded(
        name=run.name,
        number=run.number,
        method=method_number(run),
        attempt=run.attempt,
        steps=run.step,
        output_uri=run.output_uri,
        output_digest=run.output_digest,
        metrics=run.metrics,
        register_as=run.register_as,
        base=run.base,
        datasets=run.spec["datasets"],
        pipeline=run.pipeline,
        cost_microusd=run.cost_microusd,
        reward_model=run.spec.get("reward_model", ""),
        stopped_early=run.stopped_early,
    )
    succeeded.end_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.SUCCEEDED, succeeded)


async def fail(session: Session, run: Run, reason: str, message: str) -> None:
    run.failure_reason, run.failure_message = reason, message
    await _end(session, run)
    failed = events_pb2.RunFailed(name=run.name, attempt=run.attempt, step=run.step, failure_reason=reason)
    failed.end_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.FAILED, failed)


async def cancelled(session: Session, run: Run) -> None:
    await _end(session, run)
    event = events_pb2.RunCancelled(name=run.name, attempt=run.attempt, step=run.step)
    event.end_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.CANCELLED, event)


async def _pause(session: Session, run: Run) -> None:
    """Its cards are given back."""
    event = events_pb2.RunPaused(name=run.name, attempt=run.attempt, step=run.step)
    event.pause_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.PAUSED, event)


async def _keep_pace(session: Session, run: Run, seen: Seen) -> None:
    """QUEUED while the workload waits, STARTING from its admission until the attempt's trainer has reported."""
    if seen.attempt < run.started_attempt:  # it was read before the trainer reported
        return
    if seen.state == "QUEUED":
        wanted = RunState.QUEUED
    elif seen.attempt > run.started_attempt:
        wanted = RunState.STARTING
    else:
        return
    if run.state != wanted:
        await transition(session, run, wanted)


async def _end(session: Session, run: Run) -> None:
    run.end_time, run.waiting_reason = session.clock.now(), ""
    if run.pipeline:
        await store.wake_pipeline(session, run.pipeline)


def output_prefix(run: Run) -> str:
    """`runs/<ulid>`: below it each attempt has its folder."""
    return f"runs/{last(run.name)}"


def workload_name(run: Run) -> str:
    """Derived from the run's own id, so that a repeated EnsureWorkload means the same workload."""
    return f"projects/{run.project}/workloads/{last(run.name)}"


def method_number(run: Run) -> run_pb2.Method.ValueType:
    return run_pb2.Method.Value(f"METHOD_{run.method}")
