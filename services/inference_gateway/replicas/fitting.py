"""Asks the registry whether what is to be served has a place at all."""

from __future__ import annotations

from gyre.model_registry.v1 import fit_pb2, fit_service_pb2
from gyre.model_registry.v1.fit_service_pb2_grpc import FitServiceStub
from gyre_kit.errors import Precondition
from gyre_kit.rpc import Clients

from services.inference_gateway.settings import Settings


class TooLargeForFlavors(Precondition):
    """No flavor has the memory that it needs."""


async def check_fits(clients: Clients, variant: str) -> None:
    """Raises: TooLargeForFlavors, naming the nearest flavor and how much it lacks."""
    settings = Settings()
    request = fit_service_pb2.GetFitRequest(
        name=variant, context_tokens=settings.replica_context_size * settings.replica_parallel
    )
    found = await clients.stub(FitServiceStub).GetFit(request)
    if found.verdict != fit_pb2.Fit.VERDICT_TOO_LARGE:
        return
    nearest = found.flavors[0]
    raise TooLargeForFlavors(
        found.message,
        variant=variant,
        needed_bytes=found.needed_bytes,
        nearest=nearest.flavor,
        missing_bytes=nearest.missing_bytes,
    )
