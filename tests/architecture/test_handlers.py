"""Every call that the protos declare is answered by its service, not by the generated "not implemented"."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.addresses import COMPONENTS

GENERATED = Path(__file__).resolve().parents[2] / "libs" / "gyre"


def declared(component: str) -> Iterator[tuple[str, type[Any], list[str]]]:
    """Name, generated base class and calls of each gRPC service of `component`."""
    for path in sorted((GENERATED / component / "v1").glob("*_service_pb2.py")):
        messages = import_module(f"gyre.{component}.v1.{path.stem}")
        bases = import_module(f"gyre.{component}.v1.{path.stem}_grpc")
        for name, service in messages.DESCRIPTOR.services_by_name.items():
            yield name, getattr(bases, f"{name}Servicer"), [method.name for method in service.methods]


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_call_has_a_handler(component: str) -> None:
    servicers = import_module(f"services.{component}.main").app.servicers
    services = list(declared(component))
    assert services
    for name, base, calls in services:
        answering = [one for one in servicers if isinstance(one, type) and issubclass(one, base)]
        assert len(answering) == 1, f"{name} is served by {answering}"
        inherited = [call for call in calls if getattr(answering[0], call) is getattr(base, call)]
        assert not inherited, f"{name} leaves {', '.join(inherited)} unanswered"
