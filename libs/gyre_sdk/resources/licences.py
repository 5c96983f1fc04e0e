"""Licence terms and the policy of what may be deployed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gyre.model_registry.v1.licence_pb2 import InheritedTerm, LicencePolicy, LicenceTerms

from gyre_sdk import messages
from gyre_sdk.collection import Collection


class Licences(Collection[LicencePolicy]):
    kind, plural = LicencePolicy, "licence-policy"

    def terms(self, name: str) -> LicenceTerms:
        """Of a model version, a variant or a data set version, by its whole name: its own terms and inherited ones."""
        path = f"/{self.parent}/licence-terms"
        return messages.parse(LicenceTerms, self._transport.call("GET", path, query={"name": name}))

    def policy(self) -> LicencePolicy:
        """What the project refuses to deploy."""
        return self._get(LicencePolicy, f"{self.parent}/licence-policy")

    def update_policy(
        self, refuse_terms: Iterable[str] | None = None, refuse_unknown: bool | None = None, etag: str = ""
    ) -> LicencePolicy:
        """`refuse_terms`, for example NON_COMMERCIAL, replace those of before; None leaves them. Administrators only."""
        changes: dict[str, Any] = {"etag": etag} if etag else {}
        if refuse_terms is not None:
            changes["refuse_terms"] = [messages.enum_wire_name(InheritedTerm, "term", term) for term in refuse_terms]
        if refuse_unknown is not None:
            changes["refuse_unknown"] = refuse_unknown
        return self._patch(LicencePolicy, f"{self.parent}/licence-policy", changes)
