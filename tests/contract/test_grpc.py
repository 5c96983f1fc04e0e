"""gRPC as an operator meets it: reflection, health, and no way in without a token."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from gyre.dataset.v1 import dataset_service_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre_kit.addresses import COMPONENTS, GRPC_PORTS

from tests.conftest import Running

PROTO = Path(__file__).resolve().parents[2] / "proto" / "gyre"


def channel(running: Running, component: str) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{GRPC_PORTS[component] + running.port_offset}")


def declared(component: str) -> set[str]:
    """The services that a component's protos declare."""
    found = set()
    for path in (PROTO / component / "v1").glob("*_service.proto"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("service "):
                found.add(f"gyre.{component}.v1.{line.split()[1]}")
    return found


@pytest.mark.parametrize("component", COMPONENTS)
def test_reflection_lists_every_service_that_the_protos_declare(running: Running, component: str) -> None:
    with channel(running, component) as open_channel:
        listed = set(ProtoReflectionDescriptorDatabase(open_channel).get_services())
    assert declared(component)
    assert declared(component) <= listed


@pytest.mark.parametrize("component", COMPONENTS)
def test_health_says_serving(running: Running, component: str) -> None:
    with channel(running, component) as open_channel:
        reply = health_pb2_grpc.HealthStub(open_channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_call_without_a_token_is_unauthenticated(running: Running) -> None:
    with channel(running, "dataset") as open_channel, pytest.raises(grpc.RpcError) as caught:
        DatasetServiceStub(open_channel).ListDatasets(
            dataset_service_pb2.ListDatasetsRequest(parent="projects/default"), timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_the_status_command_lists_the_eight_by_name(running: Running) -> None:
    services = running.status()["services"]
    assert [service["name"] for service in services] == list(COMPONENTS)
    assert {service["health"] for service in services} == {"SERVING"}
    assert all(service["memory_bytes"] > 0 and service["version"] for service in services)


def test_an_unknown_command_line_is_a_usage_error_and_an_unknown_thing_is_not_found(running: Running) -> None:
    def code(*arguments: str) -> int:
        done: subprocess.CompletedProcess[str] = running.command(*arguments)
        return done.returncode

    assert code("datasets", "--nonsense") == 2
    assert code("datasets", "show", "no-such-data-set") == 3
    assert code("datasets", "list", "--json") == 0
