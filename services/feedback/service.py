"""Use cases: give feedback, review it, gather what was approved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gyre.feedback.v1 import events_pb2, feedback_pb2
from gyre_kit import resources
from gyre_kit.auth import Identity
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition
from gyre_kit.names import new_id, slug
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.feedback import forgetting, store
from services.feedback.models import Batch, BatchState, Feedback, FeedbackState

LONGEST_TEXT = 32_000  # characters


class CompletionRequired(Invalid):
    """Feedback names the completion that it is about: the id that the answer came with."""


class NothingSaid(Invalid):
    """Feedback needs a rating, a correction or a comment."""


class CorrectionTooLong(Invalid):
    """A correction or comment has at most 32,000 characters."""


class NotSubmitted(Precondition):
    """Only feedback that waits for a reviewer can be claimed."""


class NotInReview(Precondition):
    """Only feedback that somebody has claimed can be decided."""


class ClaimedByAnother(Precondition):
    """Another reviewer has claimed this piece; take the next, or ask for it to be reopened."""


class NothingToLearn(Invalid):
    """A thumb down says what was wrong, not what is right: add a correction, or reject it."""


class NotDecided(Precondition):
    """Only feedback that is claimed or decided can be reopened."""


class AlreadyBatched(Precondition):
    """It is part of a batch, and so of a data set version; those do not change."""


class TooFewApproved(Precondition):
    """Fewer pieces of approved feedback wait for a batch than were asked for: review more first, or ask for fewer."""


class NothingApproved(Precondition):
    """No approved feedback waits for a batch: review some first."""


class NotApproved(Precondition):
    """Each piece that a batch names must be approved and in no other batch."""


@dataclass(frozen=True)
class KnownCompletion:
    """What the gateway kept of an answer."""

    name: str
    messages: list[dict[str, Any]]
    answer: str
    deployment: str
    model_version: str
    variant: str


@dataclass(frozen=True)
class Submission:
    """What somebody says about a completion."""

    project: str
    completion: str
    rating: str = "NONE"
    correction: str = ""
    comment: str = ""
    slice: str = ""
    submitter: str = ""
    request_id: str = ""


async def submit(session: Session, said: Submission, completion: KnownCompletion | None, *, by: Identity) -> Feedback:
    """Keeps what was said: SUBMITTED if the completion is known, else PENDING until it is.

    Raises: CompletionRequired; NothingSaid; CorrectionTooLong.
    """
    if earlier := await resources.by_request(session, Feedback, said.project, said.request_id):
        return earlier
    _check(said)
    feedback = Feedback(
        name=f"projects/{said.project}/feedback/{new_id()}",
        project=said.project,
        number=await resources.next_number(session, Feedback, said.project),
        state=FeedbackState.PENDING,
        completion=said.completion,
        rating=said.rating,
        correction=said.correction,
        comment=said.comment,
        slice=said.slice,
        submitter=said.submitter or by.subject,
        request_id=said.request_id or None,
    )
    session.add(feedback)
    await session.flush()
    if completion is not None:
        await attach(session, feedback, completion)
    return feedback


async def attach(session: Session, feedback: Feedback, completion: KnownCompletion) -> None:
    """Puts the conversation beside what was said about it, and lets reviewers see it; nothing where it waits no more."""
    if feedback.state != FeedbackState.PENDING:
        return
    feedback.messages, feedback.answer = completion.messages, completion.answer
    feedback.deployment, feedback.variant = completion.deployment, completion.variant
    feedback.model_version = completion.model_version
    submitted = events_pb2.FeedbackSubmitted(
        name=feedback.name,
        number=feedback.number,
        completion=feedback.completion,
        rating=_rating(feedback),
        has_correction=bool(feedback.correction),
        model_version=feedback.model_version,
    )
    submitted.submit_time.FromDatetime(session.clock.now())
    await transition(session, feedback, FeedbackState.SUBMITTED, submitted)


async def expire(session: Session, feedback: Feedback) -> None:
    if feedback.state != FeedbackState.PENDING:
        return
    await transition(session, feedback, FeedbackState.EXPIRED)


async def claim(session: Session, name: str, *, by: Identity, etag: str = "") -> Feedback:
    """Takes `name` into review; claiming one's own again changes nothing. Raises: NotSubmitted; ClaimedByAnother."""
    feedback = await resources.get(session, Feedback, name, lock=True)
    resources.check_etag(feedback, etag)
    if feedback.state == FeedbackState.IN_REVIEW:
        _check_reviewer(feedback, by)
        return feedback
    if feedback.state != FeedbackState.SUBMITTED:
        raise NotSubmitted(name=name, state=feedback.state)
    feedback.reviewer, feedback.claim_time = by.subject, session.clock.now()
    await transition(session, feedback, FeedbackState.IN_REVIEW)
    return feedback


async def approve(
    session: Session, name: str, *, by: Identity, edit: str = "", slice: str = "", etag: str = ""
) -> Feedback:
    """Approves `name`, with `edit` in place of the correction if one is given.

    Raises: NotFound; NotInReview; ClaimedByAnother; NothingToLearn; EtagMismatch.
    """
    feedback = await _in_review(session, name, by, etag)
    if not (edit or feedback.correction) and feedback.rating != "THUMBS_UP":
        raise NothingToLearn(name=name)
    feedback.edited = bool(edit) and edit != feedback.correction
    feedback.correction = edit or feedback.correction
    feedback.slice = slice or feedback.slice
    await _decide(session, feedback, FeedbackState.APPROVED)
    return feedback


async def reject(session: Session, name: str, *, by: Identity, reason: str = "", etag: str = "") -> Feedback:
    """Raises: NotFound; NotInReview; ClaimedByAnother; EtagMismatch."""
    feedback = await _in_review(session, name, by, etag)
    feedback.reject_reason = reason
    await _decide(session, feedback, FeedbackState.REJECTED)
    return feedback


async def reopen(session: Session, name: str, *, etag: str = "") -> Feedback:
    """Undoes a claim or a decision. Raises: NotDecided; AlreadyBatched; EtagMismatch."""
    feedback = await resources.get(session, Feedback, name, lock=True)
    resources.check_etag(feedback, etag)
    if feedback.batch:
        raise AlreadyBatched(name=name, batch=feedback.batch)
    if feedback.state not in (FeedbackState.IN_REVIEW, FeedbackState.APPROVED, FeedbackState.REJECTED):
        raise NotDecided(name=name, state=feedback.state)
    was_decided = feedback.state != FeedbackState.IN_REVIEW
    feedback.reviewer, feedback.claim_time, feedback.decide_time = "", None, None
    feedback.reject_reason = ""
    event = _decided(feedback, FeedbackState.SUBMITTED, session) if was_decided else None
    await transition(session, feedback, FeedbackState.SUBMITTED, event)
    return feedback


async def create_batch(
    session: Session,
    project: str,
    dataset: str,
    names: Sequence[str],
    *,
    min_count: int = 0,
    display_name: str = "",
    request_id: str = "",
) -> Batch:
    """Takes approved feedback into a new batch, which a reconciler turns into two dataset versions.

    Raises: NothingApproved; TooFewApproved; NotApproved; BadName.
    """
    if earlier := await resources.by_request(session, Batch, project, request_id):
        return earlier
    free = await store.approved_and_free(session, project, names)
    if missing := set(names) - {feedback.name for feedback in free}:
        raise NotApproved(names=", ".join(sorted(missing)))
    if not free:
        raise NothingApproved(project=project)
    if len(free) < min_count:
        raise TooFewApproved(approved=len(free), wanted=min_count)
    batch = Batch(
        name=f"projects/{project}/batches/{new_id()}",
        project=project,
        number=await resources.next_number(session, Batch, project),
        display_name=display_name,
        state=BatchState.BUILDING,
        dataset=slug(dataset),
        count=len(free),
        request_id=request_id or None,
    )
    session.add(batch)
    for feedback in free:
        feedback.batch = batch.name
    await session.flush()
    return batch


async def finish_batch(session: Session, batch: Batch) -> None:
    """Both versions are there."""
    ready = events_pb2.BatchReady(
        name=batch.name,
        number=batch.number,
        count=batch.count,
        sft_count=batch.sft_count,
        preference_count=batch.preference_count,
        dataset=batch.dataset,
        sft_version=batch.sft_version,
        preference_version=batch.preference_version,
        rows_uri=batch.rows_uri,
        rows_digest=batch.rows_digest,
        model_versions=await store.answering_versions(session, batch.name),
    )
    ready.ready_time.FromDatetime(session.clock.now())
    await transition(session, batch, BatchState.READY, ready)


async def fail_batch(session: Session, batch: Batch, reason: str, message: str) -> None:
    batch.failure_reason, batch.failure_message = reason, message
    await forgetting.released(session, batch.name)
    await transition(session, batch, BatchState.FAILED)


def _check(said: Submission) -> None:
    if not said.completion:
        raise CompletionRequired(field="completion")
    if said.rating == "NONE" and not said.correction.strip() and not said.comment.strip():
        raise NothingSaid(field="rating")
    if max(len(said.correction), len(said.comment)) > LONGEST_TEXT:
        raise CorrectionTooLong(field="correction", characters=max(len(said.correction), len(said.comment)))


async def _in_review(session: Session, name: str, by: Identity, etag: str) -> Feedback:
    feedback = await resources.get(session, Feedback, name, lock=True)
    resources.check_etag(feedback, etag)
    if feedback.state != FeedbackState.IN_REVIEW:
        raise NotInReview(name=name, state=feedback.state)
    _check_reviewer(feedback, by)
    return feedback


def _check_reviewer(feedback: Feedback, by: Identity) -> None:
    if feedback.reviewer != by.subject:
        raise ClaimedByAnother(name=feedback.name, reviewer=feedback.reviewer)


async def _decide(session: Session, feedback: Feedback, state: FeedbackState) -> None:
    feedback.decide_time = session.clock.now()
    await transition(session, feedback, state, _decided(feedback, state, session))


def _decided(feedback: Feedback, state: FeedbackState, session: Session) -> events_pb2.FeedbackDecided:
    event = events_pb2.FeedbackDecided(
        name=feedback.name,
        state=enum_number(feedback_pb2.Feedback.State.DESCRIPTOR, state),
        rating=_rating(feedback),
        edited=feedback.edited,
        model_version=feedback.model_version,
    )
    event.decide_time.FromDatetime(session.clock.now())
    return event


def _rating(feedback: Feedback) -> Any:
    return enum_number(feedback_pb2.Feedback.Rating.DESCRIPTOR, feedback.rating)
