from __future__ import annotations

import json

import pytest
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.testing import ENGINEER, PROJECT, REVIEWER, outbox_of
from sqlalchemy import text

from services.feedback import service, store
from services.feedback.models import Feedback, FeedbackState

COMPLETION = service.KnownCompletion(
    name=f"projects/{PROJECT}/completions/chatcmpl-1",
    messages=[{"role": "user", "content": "My bin was not emptied."}],
    answer='{"department": "parks"}',
    deployment=f"projects/{PROJECT}/deployments/hotline",
    model_version=f"projects/{PROJECT}/models/hotline/versions/1",
    variant="",
)
RIGHT = '{"department": "waste"}'


async def submitted(session: Session, **said: str) -> Feedback:
    submission = service.Submission(PROJECT, COMPLETION.name, **({"rating": "THUMBS_DOWN", "correction": RIGHT} | said))
    return await service.submit(session, submission, COMPLETION, by=ENGINEER)


async def approved(session: Session, **said: str) -> Feedback:
    feedback = await submitted(session, **said)
    await service.claim(session, feedback.name, by=REVIEWER)
    return await service.approve(session, feedback.name, by=REVIEWER)


async def test_feedback_on_a_known_completion_waits_for_review_and_says_so(session: Session) -> None:
    feedback = await submitted(session)
    assert feedback.state == FeedbackState.SUBMITTED
    assert feedback.messages == COMPLETION.messages
    assert await outbox_of(session) == [("FeedbackSubmitted", feedback.name)]


async def test_feedback_on_an_unknown_completion_is_kept_as_pending(session: Session) -> None:
    feedback = await service.submit(
        session, service.Submission(PROJECT, "projects/acme/completions/x", rating="THUMBS_UP"), None, by=ENGINEER
    )
    assert feedback.state == FeedbackState.PENDING
    assert await outbox_of(session) == []


async def test_the_same_request_id_gives_the_same_feedback(session: Session) -> None:
    first = await submitted(session, request_id="r-1")
    again = await submitted(session, request_id="r-1")
    assert again.name == first.name


async def test_feedback_that_says_nothing_is_refused(session: Session) -> None:
    with pytest.raises(service.NothingSaid):
        await submitted(session, rating="NONE", correction="")


async def test_numbers_count_from_one_in_a_project(session: Session) -> None:
    assert [(await submitted(session)).number for _ in range(3)] == [1, 2, 3]


async def test_feedback_that_nobody_claimed_cannot_be_approved(session: Session) -> None:
    feedback = await submitted(session)
    with pytest.raises(service.NotInReview):
        await service.approve(session, feedback.name, by=REVIEWER)


async def test_a_claimed_piece_belongs_to_its_reviewer(session: Session) -> None:
    feedback = await submitted(session)
    await service.claim(session, feedback.name, by=REVIEWER)
    with pytest.raises(service.ClaimedByAnother):
        await service.approve(session, feedback.name, by=ENGINEER)


async def test_an_edit_replaces_the_correction_and_is_marked(session: Session) -> None:
    feedback = await submitted(session)
    await service.claim(session, feedback.name, by=REVIEWER)
    done = await service.approve(session, feedback.name, by=REVIEWER, edit="better")
    assert (done.correction, done.edited, done.state) == ("better", True, FeedbackState.APPROVED)


async def test_a_thumb_down_without_a_correction_teaches_nothing(session: Session) -> None:
    feedback = await submitted(session, correction="")
    await service.claim(session, feedback.name, by=REVIEWER)
    with pytest.raises(service.NothingToLearn):
        await service.approve(session, feedback.name, by=REVIEWER)


async def test_a_decision_can_be_undone_until_a_batch_has_taken_it(session: Session) -> None:
    feedback = await approved(session)
    assert (await service.reopen(session, feedback.name)).state == FeedbackState.SUBMITTED
    await service.claim(session, feedback.name, by=REVIEWER)
    await service.approve(session, feedback.name, by=REVIEWER)
    await service.create_batch(session, PROJECT, "corrections", [])
    with pytest.raises(service.AlreadyBatched):
        await service.reopen(session, feedback.name)


async def test_a_ready_batch_names_the_versions_whose_answers_are_in_it_once(session: Session) -> None:
    for _ in range(2):
        await approved(session)
    batch = await service.create_batch(session, PROJECT, "corrections", [])
    assert await store.answering_versions(session, batch.name) == [COMPLETION.model_version]
    await service.finish_batch(session, batch)
    payload = await session.scalar(text("SELECT payload FROM outbox WHERE type LIKE '%BatchReady'"))
    assert json.loads(payload)["model_versions"] == [COMPLETION.model_version]


async def test_a_batch_takes_what_is_approved_and_nothing_else(session: Session) -> None:
    await submitted(session)
    taken = await approved(session)
    batch = await service.create_batch(session, PROJECT, "corrections", [])
    assert batch.count == 1
    assert taken.batch == batch.name
    with pytest.raises(service.NothingApproved):
        await service.create_batch(session, PROJECT, "corrections", [])


async def test_a_batch_waits_for_as_many_as_it_wants(session: Session) -> None:
    taken = [await approved(session)]
    with pytest.raises(service.TooFewApproved) as refused:
        await service.create_batch(session, PROJECT, "corrections", [], min_count=2)
    assert refused.value.metadata == {"approved": "1", "wanted": "2"}
    assert taken[0].batch == ""
    taken.append(await approved(session))
    batch = await service.create_batch(session, PROJECT, "corrections", [], min_count=2, request_id="lap-collect")
    assert {each.batch for each in taken} == {batch.name}
    again = await service.create_batch(session, PROJECT, "corrections", [], min_count=2, request_id="lap-collect")
    assert again.name == batch.name


async def test_a_stale_etag_is_refused(session: Session) -> None:
    feedback = await submitted(session)
    stale = feedback.etag
    await service.claim(session, feedback.name, by=REVIEWER)
    with pytest.raises(service.resources.EtagMismatch):
        await service.approve(session, feedback.name, by=REVIEWER, etag=stale)


async def test_feedback_of_another_project_does_not_exist(session: Session) -> None:
    from gyre_kit.db import enter_project

    feedback = await submitted(session)
    await enter_project(session, "other")
    with pytest.raises(NotFound):
        await service.claim(session, feedback.name, by=REVIEWER)
