"""Parse, call, render: licences and model cards."""

from __future__ import annotations

from typing import Any

from gyre.model_registry.v1 import card_pb2, card_service_pb2, licence_pb2, licence_service_pb2
from gyre.model_registry.v1.card_service_pb2_grpc import CardServiceServicer
from gyre.model_registry.v1.licence_service_pb2_grpc import LicenceServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.names import project_of
from gyre_kit.render import enum_number, render

from services.model_registry import card, cards, licensing
from services.model_registry.models import LicencePolicy


class LicenceApi(LicenceServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetLicenceTerms(
        self, request: licence_service_pb2.GetLicenceTermsRequest, _: Any
    ) -> licence_pb2.LicenceTerms:
        return terms_to_proto(request.name, await licensing.standing(self.context, request.name))

    async def GetLicencePolicy(
        self, request: licence_service_pb2.GetLicencePolicyRequest, _: Any
    ) -> licence_pb2.LicencePolicy:
        async with self.db.transaction() as session:
            return policy_to_proto(await licensing.policy(session, project_of(request.name)))

    async def UpdateLicencePolicy(
        self, request: licence_service_pb2.UpdateLicencePolicyRequest, _: Any
    ) -> licence_pb2.LicencePolicy:
        given, fields = request.licence_policy, list(request.update_mask.paths)
        async with self.db.transaction() as session:
            return policy_to_proto(await licensing.update_policy(session, given, fields, by=caller()))


class CardApi(CardServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def GetModelCard(self, request: card_service_pb2.GetModelCardRequest, _: Any) -> card_pb2.ModelCard:
        return card_to_proto(await cards.card_of(self.context, request.name))

    async def EditModelCard(self, request: card_service_pb2.EditModelCardRequest, _: Any) -> card_pb2.ModelCard:
        async with self.context.db.transaction() as session:
            await cards.edit(session, request.name, request.markdown, etag=request.etag, by=caller())
        return card_to_proto(await cards.card_of(self.context, request.name))


def card_to_proto(shown: cards.Card) -> card_pb2.ModelCard:
    text = shown.text
    return render(
        text,
        card_pb2.ModelCard,
        sections=[
            {"title": each.title, "body": each.body, "generated": each.generated}
            for each in card.sections_of(shown.facts)
        ],
        markdown=card.markdown_of(shown.facts),
        update_time=text.update_time if text.updated_by else None,
    )


def terms_to_proto(name: str, found: licensing.Standing) -> licence_pb2.LicenceTerms:
    number = licence_pb2.Term.DESCRIPTOR
    return licence_pb2.LicenceTerms(
        name=name,
        licence=found.licence,
        origin=found.origin,
        terms=[
            licence_pb2.InheritedTerm(
                term=enum_number(number, each.term),
                because_of=each.because_of,
                licence=each.licence,
                summary=each.summary,
                url=each.url,
            )
            for each in found.terms.terms
        ],
        unknown=[licence_pb2.UnknownLicence(name=each, licence=licence) for each, licence in found.terms.unknown],
        refusals=[
            licence_pb2.Refusal(
                term=enum_number(number, each.term or ""),
                because_of=each.because_of,
                licence=each.licence,
                message=each.message,
            )
            for each in found.refusals
        ],
        truncated=found.truncated,
    )


def policy_to_proto(kept: LicencePolicy) -> licence_pb2.LicencePolicy:
    """One that nobody changed yet has no time."""
    return render(kept, licence_pb2.LicencePolicy, update_time=kept.update_time if kept.updated_by else None)
