"""Batches: a deployment asked about a whole data set version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from gyre.inference_gateway.v1.inference_batch_pb2 import InferenceBatch
from gyre.inference_gateway.v1.inference_batch_service_pb2 import (
    CancelInferenceBatchRequest,
    CreateInferenceBatchRequest,
)

from gyre_sdk.collection import Collection, Page, request_id

LIST = "inference_batches"


class InferenceBatches(Collection[InferenceBatch]):
    """The batches of `/v1/batches`, those over data set versions among them."""

    kind, plural, ends = InferenceBatch, "inferenceBatches", ("COMPLETED",)

    def create(
        self,
        source_version: str,
        model: str,
        *,
        system: str = "",
        max_tokens: int = 0,
        temperature: float | None = None,
        result_dataset: str = "",
        hours: float = 24.0,
        display_name: str = "",
    ) -> InferenceBatch:
        """Asks `model`, a deployment, about every row of a data set version (its name). The answers become the next
        version of `result_dataset`, or of `{source}-answers`. Returns it VALIDATING.
        """
        request = CreateInferenceBatchRequest(
            source_version=source_version,
            model=model,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            result_dataset=result_dataset,
            display_name=display_name,
            request_id=request_id(),
        )
        request.completion_window.FromTimedelta(timedelta(hours=hours))
        return self._post(InferenceBatch, f"{self.parent}/{self.plural}", request)

    def cancel(self, name: str, etag: str = "") -> InferenceBatch:
        """What was answered before stays in its files."""
        return self._post(InferenceBatch, self.name(name), CancelInferenceBatchRequest(etag=etag), "cancel")

    def page(self, page_token: str = "", page_size: int = 50, **query: Any) -> Page[InferenceBatch]:
        return self._page(InferenceBatch, f"{self.parent}/{self.plural}", LIST, page_token, page_size, **query)

    def list(self, **query: Any) -> Iterator[InferenceBatch]:
        return self._all(InferenceBatch, f"{self.parent}/{self.plural}", LIST, **query)
