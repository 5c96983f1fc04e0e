from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gyre.api_gateway.v1 import key_pb2, project_pb2
from gyre.api_gateway.v1.events_pb2 import KeyChanged, ProjectChanged
from gyre.feedback.v1 import feedback_pb2
from gyre.feedback.v1.events_pb2 import FeedbackSubmitted
from gyre.gpu_scheduler.v1.events_pb2 import WorkloadFailed, WorkloadFinished, WorkloadStarted
from gyre.model_registry.v1.events_pb2 import AliasMoved
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.main import app
from services.inference_gateway.models.deployments import Deployment
from services.inference_gateway.models.traces import Completion
from services.inference_gateway.targets import Wanted

ALIAS = f"projects/{PROJECT}/models/hotline/aliases/champion"
VARIANT = f"projects/{PROJECT}/models/hotline/versions/2/variants/q8-0"


async def a_deployment(session: Session) -> Deployment:
    wanted = Wanted(weight_percent=100, engine="LLAMA_CPP", variant="projects/acme/models/m/versions/1/variants/q")
    return await service.create(session, PROJECT, "hotline", [wanted], alias=ALIAS)


async def test_a_revoked_key_leaves_the_routes(session: Session) -> None:
    handle = app.handlers
    await handle[ProjectChanged](
        session,
        ProjectChanged(name=f"projects/{PROJECT}", state=project_pb2.Project.STATE_ACTIVE, consent_to_keep=True),
    )
    for state in (key_pb2.ApiKey.STATE_ACTIVE, key_pb2.ApiKey.STATE_REVOKED):
        event = KeyChanged(name=f"projects/{PROJECT}/keys/k", state=state, role=key_pb2.ROLE_VIEWER, secret_sha256="ab")
        await handle[KeyChanged](session, event)
        snapshot = routes.make(1, await store.keys(session), await store.projects(session), [])
        assert snapshot.keys["ab"].revoked is (state == key_pb2.ApiKey.STATE_REVOKED)
    assert snapshot.keeps_completions(PROJECT)


async def test_a_deployment_that_follows_an_alias_is_found_behind_it(session: Session) -> None:
    deployment = await a_deployment(session)
    deployment.rollout = ""
    await app.handlers[AliasMoved](session, AliasMoved(name=ALIAS, to_variant=VARIANT))
    await session.flush()
    behind = await store.first_behind_its_alias(session)
    assert behind is not None
    assert (behind.name, behind.alias_variant) == (deployment.name, VARIANT)


async def test_what_was_rolled_back_is_followed_again_only_when_the_alias_moves(session: Session) -> None:
    deployment = await a_deployment(session)
    deployment.rollout, deployment.alias_variant, deployment.alias_refused = "", VARIANT, VARIANT
    await session.flush()
    assert await store.first_behind_its_alias(session) is None
    await app.handlers[AliasMoved](session, AliasMoved(name=ALIAS, to_variant=VARIANT))
    await session.flush()
    assert await store.first_behind_its_alias(session) is not None


@pytest.mark.parametrize("kind", [WorkloadStarted, WorkloadFinished, WorkloadFailed])
async def test_news_of_a_replica_makes_its_deployment_due_at_once(session: Session, kind: Any) -> None:
    deployment = await a_deployment(session)
    await service.apply(session, deployment, {})
    deployment.due = session.clock.now() + timedelta(seconds=60)
    await session.flush()
    (target,) = await store.targets_of(session, deployment.name)
    (replica,) = (await store.replicas_of(session, [target.id]))[target.id]
    await app.handlers[kind](session, kind(name=replica.workload))
    await session.refresh(deployment)
    assert deployment.due is None


@pytest.mark.parametrize(("rating", "counted"), [("THUMBS_UP", (1, 0)), ("THUMBS_DOWN", (0, 1)), ("NONE", (0, 0))])
async def test_a_rating_is_counted_for_the_target_that_answered(
    session: Session, rating: str, counted: tuple[int, int]
) -> None:
    deployment = await a_deployment(session)
    (target,) = await store.targets_of(session, deployment.name)
    name = f"projects/{PROJECT}/completions/chatcmpl-1"
    session.add(Completion(name=name, project=PROJECT, deployment=deployment.name, target=target.id))
    await session.flush()
    event = FeedbackSubmitted(
        name=f"projects/{PROJECT}/feedback/f",
        completion="chatcmpl-1",
        rating=feedback_pb2.Feedback.Rating.Value(f"RATING_{rating}"),
    )
    await app.handlers[FeedbackSubmitted](session, event)
    await session.refresh(target)
    assert (target.liked, target.disliked) == counted
