"""The real tools: promtool and prometheus, from Debian. Missing ones fail the tests, and say which command to run."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from gyre_kit.addresses import COMPONENTS, METRICS_PORTS

from tests.conftest import Running

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"


def tool(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing. Run: sudo apt-get install -y --no-install-recommends prometheus"
    return path


@dataclass(frozen=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that answers `expression`. Raises: AssertionError with Prometheus' own words."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", data=body, timeout=20) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}\n{error.read().decode()}") from error
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Looks until `holds()` or the bound is reached; returns what it saw last."""
    deadline = time.monotonic() + seconds
    while not (seen := holds()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return seen


@pytest.fixture(scope="session")
def prometheus(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The shipped configuration and rules, scraping the running platform every second."""
    folder = tmp_path_factory.mktemp("prometheus")
    _configure(folder, running.port_offset)
    port = _free_port()
    command = [
        tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    made = Prometheus(f"http://127.0.0.1:{port}")
    try:
        assert eventually(lambda: _is_ready(made)), (folder / "log").read_text()
        yield made
    finally:
        server.terminate()
        server.wait(timeout=20)


def _configure(folder: Path, offset: int) -> None:
    """The shipped files; only the intervals and the ports are the test's."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    targets = yaml.safe_load((PROMETHEUS / "targets" / "local.yml").read_text())
    for group in targets:
        group["targets"] = [f"127.0.0.1:{METRICS_PORTS[group['labels']['component']] + offset}"]
    assert len(targets) == len(COMPONENTS)
    (folder / "targets").mkdir()
    (folder / "targets" / "local.yml").write_text(yaml.safe_dump(targets))


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        return len(prometheus.query('up{job="gyre"} == 1')) == len(COMPONENTS)
    except (OSError, AssertionError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
