"""`up`, `status` and `down` with the real database and broker; the services are small servers that are only healthy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from gyre_kit import addresses

from deploy.local import children, control, processes, status
from deploy.local.settings import RuntimeSettings
from deploy.local.state import Phase, RuntimeState

HEALTHY = """
import os, socket, sys
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

component = __spec__.name.split(".")[1]
assert open(os.environ["GYRE_HOME"] + "/run/database_url").read() and not os.environ["GYRE_DATABASE_URL"]
offset = int(os.environ["GYRE_PORT_OFFSET"])
http = {"api_gateway": 8000, "inference_gateway": 8080}.get(component)
if http:
    listener = socket.create_server(("127.0.0.1", http + offset))
server = grpc.server(futures.ThreadPoolExecutor(1))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(f"127.0.0.1:{PORTS[component] + offset}")
server.start()
server.wait_for_termination()
"""
BROKEN = "print('no such column: colour', flush=True)\nraise SystemExit(3)\n"


def write_services(folder: Path, broken: str = "") -> None:
    for component in addresses.COMPONENTS:
        package = folder / "services" / component
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        source = BROKEN if component == broken else f"PORTS = {addresses.GRPC_PORTS}\n{HEALTHY}"
        (package / "main.py").write_text(source)


@pytest.fixture
def platform(settings: RuntimeSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuntimeSettings]:
    """Settings of a home that is stopped after the test."""
    monkeypatch.setenv("PYTHONPATH", str(settings.resolved_home / "code"))
    yield settings
    control.down(settings)
    assert processes.marked(settings.resolved_home) == []


def start_workload(settings: RuntimeSettings) -> subprocess.Popen[bytes]:
    attempt = settings.work_folder / "01J" / "1"
    attempt.mkdir(parents=True)
    command = ["sh", "-c", "sleep 1000 & wait"]
    process = subprocess.Popen(command, env=children.environment(settings), start_new_session=True, cwd=attempt)
    (attempt / "pid").write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
    return process


def test_up_twice_then_kill_the_supervisor_up_again_kill_it_again_and_down(platform: RuntimeSettings) -> None:
    write_services(platform.resolved_home / "code")
    seen: list[Phase] = []
    first = control.up(platform, lambda state: seen.append(state.phase))
    assert seen[-1] is Phase.READY
    assert set(first.children) == {"postgres", "broker", *addresses.COMPONENTS}

    assert control.up(platform, lambda _: None).supervisor == first.supervisor

    report = status.platform(platform)
    assert [part.health for part in report.services] == ["SERVING"] * 8
    assert report.state == "READY" and report.postgres.health == "SERVING" and report.broker.health == "SERVING"
    assert all(part.pid and part.memory_bytes > 1_000_000 for part in [*report.services, report.postgres])
    assert report.addresses["openai"] == f"http://127.0.0.1:{platform.openai_port}/v1"

    workload = start_workload(platform)
    os.kill(first.supervisor.pid, signal.SIGKILL)
    assert processes.wait_gone([first.supervisor.pid], 5)
    assert status.platform(platform).state == "UNSUPERVISED"
    second = control.up(platform, lambda _: None)
    assert second.supervisor != first.supervisor
    assert not any(child.process and child.process.alive() for child in first.children.values())
    assert workload.poll() is None

    os.kill(second.supervisor.pid, signal.SIGKILL)
    assert processes.wait_gone([second.supervisor.pid], 5)
    stopped = control.down(platform)
    assert (stopped.supervisor, stopped.workloads) == (False, 1) and stopped.left_over >= 10
    assert not any(child.process and child.process.alive() for child in second.children.values())
    assert workload.wait(5) != 0
    assert status.platform(platform).state == "DOWN"
    assert not control.down(platform).anything


def test_a_service_that_cannot_start_fails_up_with_the_end_of_its_log(platform: RuntimeSettings) -> None:
    write_services(platform.resolved_home / "code", broken="evaluation")
    with pytest.raises(control.StartFailed, match=r"(?s)evaluation failed.*exit code 3.*no such column.*gyre down"):
        control.up(platform, lambda _: None)
    state = control.running(platform)
    assert state is not None and state.children["dataset"].process is not None
    assert control.down(platform).supervisor


def test_up_names_the_port_that_is_taken(platform: RuntimeSettings) -> None:
    write_services(platform.resolved_home / "code")
    with (
        socket.create_server(("127.0.0.1", platform.console_port)),
        pytest.raises(
            control.StartFailed, match=rf"{platform.console_port} \(REST and console\) by .*pid {os.getpid()}"
        ),
    ):
        control.up(platform, lambda _: None)
    assert control.running(platform) is None


def test_the_foreground_supervisor_stops_everything_at_ctrl_c(platform: RuntimeSettings) -> None:
    write_services(platform.resolved_home / "code")
    environment = os.environ | platform.as_environment()
    command = [sys.executable, "-m", "deploy.local.main"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        for line in supervisor.stdout:
            if "are ready after" in line:
                break
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(30) == 0
    state = RuntimeState.read(platform.state_file)
    assert state is not None and state.phase is Phase.STOPPED
    assert processes.marked(platform.resolved_home) == []
