"""Models, versions, variants, aliases and lineage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from gyre.model_registry.v1.alias_pb2 import Alias, AliasMove
from gyre.model_registry.v1.alias_service_pb2 import MoveAliasRequest
from gyre.model_registry.v1.card_pb2 import ModelCard
from gyre.model_registry.v1.card_service_pb2 import EditModelCardRequest
from gyre.model_registry.v1.fit_pb2 import Fit
from gyre.model_registry.v1.lineage_pb2 import Lineage
from gyre.model_registry.v1.model_pb2 import Model
from gyre.model_registry.v1.model_service_pb2 import CreateModelRequest
from gyre.model_registry.v1.variant_pb2 import Variant
from gyre.model_registry.v1.variant_service_pb2 import CreateVariantRequest
from gyre.model_registry.v1.version_pb2 import Version
from gyre.model_registry.v1.version_service_pb2 import ImportVersionRequest, RegisterVersionRequest

from gyre_sdk import messages, names
from gyre_sdk.collection import POLL_SECONDS, Collection, request_id
from gyre_sdk.errors import TIMEOUT, GyreError


class Models(Collection[Model]):
    kind, plural = Model, "models"

    def create(self, model_id: str, **fields: str) -> Model:
        """`fields`: display_name, description, origin, licence."""
        request = CreateModelRequest(model_id=model_id, request_id=request_id(), **fields)
        return self._post(Model, f"{self.parent}/models", request)

    def ensure(self, model_id: str, **fields: str) -> Model:
        """The model, made if it is missing."""
        try:
            return self.get(model_id)
        except GyreError as error:
            if not error.not_found:
                raise
            return self.create(model_id, **fields)

    def update(self, name: str, **changes: Any) -> Model:
        """`changes`: display_name, description, origin, licence."""
        return self._patch(Model, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        self._delete(self.name(name), etag)

    def import_version(self, model: str, source: str, **fields: str) -> Version:
        """From `bundled://smollm2`, `hf://ID`, `ms://ID` or an upload's uri (`Gyre.model_uploads.send`). Returns it IMPORTING.

        `fields`: display_name, revision, origin, licence, card.
        """
        request = ImportVersionRequest(source=source, request_id=request_id(), **fields)
        return self._post(Version, f"{self.name(model)}/versions", request, "import")

    def import_as(
        self, model_id: str, source: str, *, origin: str = "", licence: str = "", revision: str = ""
    ) -> Version:
        """`import_version` into a model that is made if it is missing, but only once the source was not refused."""
        fields = {"origin": origin, "licence": licence, "revision": revision}
        try:
            return self.import_version(model_id, source, **fields)
        except GyreError as error:
            if not error.not_found:
                raise
        self.create(model_id, origin=origin, licence=licence)
        return self.import_version(model_id, source, **fields)

    def register_version(self, model: str, request: RegisterVersionRequest) -> Version:
        """A run's result by hand; runs with `register_as` do it by themselves."""
        return self._post(Version, f"{self.name(model)}/versions", request, "register")

    def version(self, reference: str) -> Version:
        """By name, `smollm2@3`, or `smollm2` for the newest that is READY."""
        return self._get(Version, self.version_name(reference))

    def version_name(self, reference: str) -> str:
        """Also of an alias: `smollm2@production`."""
        if "/versions/" in reference:
            return reference
        model, _, which = reference.partition("@")
        if which.isdigit():
            return f"{self.name(model)}/versions/{which}"
        found = self.get(model)
        version = {alias.alias: alias.version for alias in found.aliases}.get(which) if which else found.latest_version
        if version:
            return version
        missing = f"no alias {which}" if which else "no version that is ready"
        raise GyreError(404, "VERSION_NOT_FOUND", f"{model} has {missing}.", f"See `gyre models versions {model}`.")

    def versions(self, model: str = "-", **query: Any) -> Iterator[Version]:
        return self._all(Version, f"{self.name(model)}/versions", "versions", **query)

    def delete_version(self, reference: str, etag: str = "") -> None:
        self._delete(self.version_name(reference), etag)

    def create_variant(self, version: str, quantisation: str, calibration: str = "") -> Variant:
        """`quantisation`: F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, AWQ, GPTQ or FP8. Returns it CREATING, or the one that is there.

        `calibration`: a data set version by name, whose conversations weigh the rounding; AWQ and GPTQ need one.
        """
        request = CreateVariantRequest(quantisation=quantisation, calibration=calibration, request_id=request_id())
        return self._post(Variant, f"{self.version_name(version)}/variants", request)

    def import_adapter(self, version: str, source: str, variant_id: str = "") -> Variant:
        """A LoRA for `version`, from the `uri` of a finished upload, or `hf://ID` or `ms://ID`. Returns it CREATING.

        An empty `version` means the one that an upload's adapter_config.json names as its base.
        """
        request = CreateVariantRequest(
            format=Variant.FORMAT_ADAPTER, source=source, variant_id=variant_id, request_id=request_id()
        )
        parent = self.version_name(version) if version else f"{self.parent}/models/-/versions/-"
        return self._post(Variant, f"{parent}/variants", request)

    def create_adapter(self, version: str, variant_id: str = "") -> Variant:
        """The adapter that a LoRA run trained, or the imported one `variant_id`, as one file. Returns it CREATING, or the
        one that is there.
        """
        request = CreateVariantRequest(
            format=Variant.FORMAT_GGUF_ADAPTER, variant_id=variant_id, request_id=request_id()
        )
        return self._post(Variant, f"{self.version_name(version)}/variants", request)

    def variant(self, reference: str) -> Variant:
        """By name, or `smollm2@3:q8-0`."""
        return self._get(Variant, self.variant_name(reference))

    def reference_name(self, reference: str) -> str:
        """Of a variant where one is named, else of the version."""
        is_variant = ":" in reference or "/variants/" in reference
        return self.variant_name(reference) if is_variant else self.version_name(reference)

    def variant_name(self, reference: str) -> str:
        if "/variants/" in reference:
            return reference
        version, _, variant = reference.partition(":")
        if not variant:
            remedy = f"For instance {reference}:q8-0; see `gyre models variants {reference}`."
            raise GyreError(400, "VARIANT_REQUIRED", f"{reference} names no variant.", remedy)
        return f"{self.version_name(version)}/variants/{variant}"

    def variants(self, version: str) -> Iterator[Variant]:
        return self._all(Variant, f"{self.version_name(version)}/variants", "variants")

    def fit(self, reference: str, context_tokens: int = 0) -> Fit:
        """What memory a version or variant needs, and which flavors have it. `context_tokens` of all requests at once."""
        query: dict[str, Any] = {"name": self.reference_name(reference)}
        if context_tokens:
            query["context_tokens"] = context_tokens
        return messages.parse(Fit, self._transport.call("GET", f"/{self.parent}/fit", query=query))

    def aliases(self, model: str) -> Iterator[Alias]:
        return self._all(Alias, f"{self.name(model)}/aliases", "aliases")

    def alias_moves(self, model: str, alias: str) -> Iterator[AliasMove]:
        return self._all(AliasMove, f"{self.name(model)}/aliases/{alias}/moves", "moves")

    def resolve_alias(self, model: str, alias: str, time: datetime | None = None) -> AliasMove:
        """What the alias meant at `time` (with a zone; None means now), and who moved it there.

        Raises: GyreError (ALIAS_NOT_FOUND) if it pointed to nothing then.
        """
        query = {"time": time.isoformat()} if time else {}
        path = f"{names.path(self.name(model))}/aliases/{alias}:resolve"
        return messages.parse(AliasMove, self._transport.call("GET", path, query=query))

    def move_alias(self, model: str, alias: str, version: str, **fields: Any) -> Alias:
        """`fields`: variant, verdict, expected_version, etag, gated."""
        request = MoveAliasRequest(version=self.version_name(version), request_id=request_id(), **fields)
        return self._post(Alias, f"{self.name(model)}/aliases/{alias}", request, "move")

    def lineage(self, name: str, direction: str = "", depth: int = 0, time: datetime | None = None) -> Lineage:
        """Where a version, variant, run, data set version, alias, deployment or completion came from, and what came of it.

        `direction`: UPSTREAM or DOWNSTREAM; empty for both. `time`: the graph as it was then, with a zone; None means now.
        """
        query: dict[str, Any] = {"name": name}
        if direction:
            query["direction"] = f"DIRECTION_{direction.upper()}"
        if depth:
            query["depth"] = depth
        if time:
            query["time"] = time.isoformat()
        return messages.parse(Lineage, self._transport.call("GET", f"/{self.parent}/lineage", query=query))

    def card(self, version: str) -> ModelCard:
        """Facts and what people wrote, in sections and as Markdown with front matter."""
        return self._get(ModelCard, f"{self.version_name(version)}/card")

    def edit_card(self, version: str, markdown: str, etag: str = "") -> ModelCard:
        """Replaces what people wrote by the sections of `markdown`; those that are written from facts stay."""
        request = EditModelCardRequest(markdown=markdown, etag=etag)
        return self._post(ModelCard, f"{self.version_name(version)}/card", request, "edit")

    def await_run(self, model: str, run: str, timeout: float = 60.0) -> Version:
        """The version that a run with `register_as` leads to. Raises: GyreError if none appears within `timeout` s."""
        deadline = time.monotonic() + timeout
        while True:
            for version in self.versions(model, filter=f"run={run}"):
                return version
            if time.monotonic() > deadline:
                remedy = "`gyre events` shows whether RunSucceeded arrived."
                raise GyreError(0, TIMEOUT, f"{run} is not registered after {timeout:g} s.", remedy)
            time.sleep(POLL_SECONDS)

    def wait_version(
        self, name: str, timeout: float | None = None, on_update: Callable[[Version], None] | None = None
    ) -> Version:
        """Until it is READY. Raises: GyreError if the import FAILED."""
        get = lambda: self._get(Version, name)
        return self._wait(get, ("READY",), timeout, on_update, check=True)

    def wait_variant(
        self, name: str, timeout: float | None = None, on_update: Callable[[Variant], None] | None = None
    ) -> Variant:
        """Until it is READY. Raises: GyreError if converting FAILED."""
        get = lambda: self._get(Variant, name)
        return self._wait(get, ("READY",), timeout, on_update, check=True)

    def wait_adapter(
        self, name: str, timeout: float | None = None, on_update: Callable[[Variant], None] | None = None
    ) -> Variant:
        """Until the imported adapter `name` is READY, and the form that engines add to its base, which is returned.

        Raises: GyreError if it does not fit its base, or llama.cpp cannot add it.
        """
        self.wait_variant(name, timeout, on_update)
        return self.wait_variant(f"{name}-gguf", timeout, on_update)
