"""A whole platform, started once by `gyre up` for all tests that need one: eight processes, database and broker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.testing import free_port_offset
from gyre_sdk.client import Gyre
from gyre_sdk.config import Config

GYRE = Path(sys.executable).with_name("gyre")
STARTED: list[Running] = []


@dataclass(frozen=True)
class Running:
    """A platform that runs, and how to talk to it."""

    home: Path
    port_offset: int
    environment: dict[str, str]

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GYRE, *arguments], check=False, capture_output=True, text=True, timeout=timeout, env=self.environment
        )

    def status(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return report

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{8000 + self.port_offset}"

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{8080 + self.port_offset}/v1"

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{8092 + self.port_offset}"

    @property
    def admin_key(self) -> str:
        return (self.home / "admin.key").read_text().strip()

    def client(self, project: str = "default", key: str = "") -> Gyre:
        return Gyre(config=Config(self.rest_url, self.openai_url, key or self.admin_key, project))


def start(**environment: str) -> Running:
    home = Path(tempfile.mkdtemp(prefix="gyre-e2e-"))
    offset = free_port_offset()
    known = {name: value for name, value in os.environ.items() if not name.startswith("GYRE_")}
    variables = known | {"GYRE_HOME": str(home), "GYRE_PORT_OFFSET": str(offset)} | environment
    running = Running(home, offset, variables)
    done = running.command("up", "--timeout", "180", timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return running


def stop(running: Running) -> None:
    running.command("down", timeout=120)
    shutil.rmtree(running.home, ignore_errors=True)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    platform = start()
    STARTED.append(platform)
    try:
        yield platform
    finally:
        STARTED.clear()
        stop(platform)


@pytest.fixture(scope="module", autouse=True)
def room_for_the_next() -> Iterator[None]:
    """What the tests of a file deployed is taken away at its end: those of the next one want the cores."""
    yield
    for platform in STARTED:
        for project in platform.client().projects.page().items:
            gyre = platform.client(project.name.rpartition("/")[2])
            for deployment in gyre.deployments.page().items:
                gyre.deployments.delete(deployment.name)
