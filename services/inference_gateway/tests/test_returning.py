"""Replicas that served before a start: which they are, and how long a start waits for them."""

from __future__ import annotations

import asyncio

from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.inference_gateway import service, store
from services.inference_gateway.models.deployments import ReplicaState
from services.inference_gateway.replicas.returning import Returning
from services.inference_gateway.replicas.service import Look, Seen
from services.inference_gateway.targets import Wanted

VERSION = f"projects/{PROJECT}/models/returning/versions/1"
VARIANT = Wanted(100, "LLAMA_CPP", variant=f"{VERSION}/variants/q8-0", model_version=VERSION)


async def test_only_a_replica_that_answered_once_is_waited_for(session: Session) -> None:
    before = set(await store.replicas_that_served(session))
    deployment = await service.create(session, PROJECT, "returning", [VARIANT])
    await service.apply(session, deployment, {})
    (target,) = await store.targets_of(session, deployment.name)
    (replica,) = (await store.replicas_of(session, [target.id]))[target.id]
    assert set(await store.replicas_that_served(session)) == before
    for state in (ReplicaState.READY, ReplicaState.STARTING):
        await service.apply(session, deployment, {}, look=Look({replica.id: Seen(state)}))
    assert set(await store.replicas_that_served(session)) == before | {replica.id}
    await service.delete(session, deployment.name, "")
    assert set(await store.replicas_that_served(session)) == before


async def test_one_that_starts_is_waited_for_and_one_that_failed_is_not() -> None:
    returning = Returning(["a", "b"])
    returning.saw("a", ReplicaState.READY)
    returning.saw("b", ReplicaState.STARTING)
    waiting = asyncio.create_task(returning.wait(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert "b" in returning
    returning.saw("b", ReplicaState.FAILED)
    await waiting
    assert "b" not in returning


async def test_a_start_does_not_wait_for_ever() -> None:
    returning = Returning(["slow"])
    await returning.wait(0.01)
    assert "slow" in returning
