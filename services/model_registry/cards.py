"""Use cases: a version's card, written anew from facts at every look, beside what people wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gyre.evaluation.v1 import evaluation_pb2, evaluation_service_pb2
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre.training_scheduler.v1 import run_pb2, run_service_pb2
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import Identity
from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.names import parent_of
from sqlalchemy.exc import IntegrityError

from services.model_registry import card, history, licensing
from services.model_registry.asking import ask
from services.model_registry.card import Facts, Section
from services.model_registry.models import CardText, Version

MOST_EVALUATIONS = 20  # the newest
MOST_SECTIONS = 50


class CardTooLong(Invalid):
    """What people write into a card has at most 100,000 characters in 50 sections."""


class BadCard(Invalid):
    """Every section begins with `## Title`, and no two have the same title."""


@dataclass(frozen=True)
class Card:
    """As it is shown."""

    facts: Facts
    text: CardText


async def card_of(context: Context, name: str) -> Card:
    """`name` ends in `/card`. Raises: NotFound."""
    async with context.db.transaction() as session:
        version = await resources.get(session, Version, version_of(name))
        text = await _text(session, name, version.project)
        data = await history.known_data(session, version.dataset_versions)
        base: Version | None = await session.get(Version, version.base_version)
    standing = await licensing.standing(context, version.name)
    facts = Facts(
        version,
        standing.licence,
        standing.terms,
        data=list(data.values()),
        base=base,
        run=await _run(context, version.run),
        evaluations=await _evaluations(context, version),
        written=[Section(title, body) for title, body in text.sections],
    )
    return Card(facts, text)


async def edit(session: Session, name: str, markdown: str, *, etag: str, by: Identity) -> None:
    """Replaces what people wrote. Raises: NotFound; EtagMismatch; CardTooLong; BadCard."""
    version = await resources.get(session, Version, version_of(name), lock=True)
    if len(markdown) > 2 * card.LONGEST_CARD:
        raise CardTooLong(characters=len(markdown))
    sections = card.written_in(markdown)
    if sum(len(section.body) for section in sections) > card.LONGEST_CARD or len(sections) > MOST_SECTIONS:
        raise CardTooLong(sections=len(sections))
    titles = [section.title for section in sections]
    if not all(titles) or len(set(titles)) < len(titles):
        raise BadCard(titles=", ".join(titles)[:200])
    text = await _text(session, name, version.project)
    resources.check_etag(text, etag)
    text.sections = [[section.title, section.body] for section in sections]
    text.updated_by, text.revision = by.subject, text.revision or 1
    session.add(text)
    try:
        await session.flush()
    except IntegrityError as error:
        raise resources.EtagMismatch(name=name) from error


def version_of(name: str) -> str:
    return name.removesuffix("/card")


async def _text(session: Session, name: str, project: str) -> CardText:
    kept: CardText | None = await session.get(CardText, name)
    return kept or CardText(name=name, project=project, revision=0)


async def _run(context: Context, name: str) -> run_pb2.Run | None:
    if not name:
        return None
    found: run_pb2.Run | None = await ask(
        context.clients.stub(RunServiceStub).GetRun(run_service_pb2.GetRunRequest(name=name))
    )
    return found


async def _evaluations(context: Context, version: Version) -> Sequence[evaluation_pb2.Evaluation]:
    """Of any of its variants, newest first."""
    request = evaluation_service_pb2.ListEvaluationsRequest(
        parent=parent_of(version.model),
        page_size=MOST_EVALUATIONS,
        filter="state=SUCCEEDED",
        query=f"{version.name}/variants/",
        order_by="create_time desc",
    )
    reply = await context.clients.stub(EvaluationServiceStub).ListEvaluations(request)
    found: Sequence[evaluation_pb2.Evaluation] = reply.evaluations
    return found
