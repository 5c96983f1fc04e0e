"""A registry of MLflow's and Gyre's: the same story with the fake server and, marked `peers`, with a real one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gyre_sdk.client import Gyre
from gyre_sdk.mlflow.client import Mlflow, Run
from gyre_trainers.testing import tiny_llama

from tests.conftest import Running
from tests.mlflow_fake import FakeMlflow, serving

SECONDS = 60.0  # a server that has just started is slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("weights") / "tiny", ["a lamp is broken in the park"] * 20)


@pytest.fixture
def fake() -> Iterator[str]:
    with serving(FakeMlflow()) as address:
        yield address


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    """`mlflow server`, in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "install", "-q", "mlflow"], check=True, timeout=500)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [tmp_path / "venv/bin/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{tmp_path}/m.db", "--artifacts-destination", f"{tmp_path}/art"]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _await(address)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def _await(address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/health").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError("mlflow server did not start")


def test_versions_and_aliases_go_both_ways(running: Running, fake: str, weights: Path) -> None:
    _story(running, fake, weights, "mlflow-fake")


@pytest.mark.peers
def test_versions_and_aliases_go_both_ways_with_a_real_server(running: Running, real: str, weights: Path) -> None:
    _story(running, real, weights, "mlflow-real")


def _story(running: Running, address: str, weights: Path, project: str) -> None:
    running.client().projects.create(project)
    gyre = running.client(project)
    run_id = _seed(address, weights)

    def synced(*options: str) -> list[tuple[str, str, str]]:
        command = ("models", "sync", "mlflow", "--tracking-uri", address, "-p", project, "--json", *options)
        done = running.command(*command)
        assert done.returncode == 0, done.stderr
        entries = json.loads(done.stdout)["entries"]
        return [(entry["outcome"], entry["what"], entry["to"] or entry["reason"]) for entry in entries]

    refused = ("REFUSED", "Hotline Bot/2", "PICKLED_FLAVOUR")
    assert synced() == [
        ("PULLED", "Hotline Bot/1", "hotline-bot@1"),
        refused,
        ("PULLED", "Hotline Bot@champion", "hotline-bot@1"),
    ]
    version = gyre.models.version("hotline-bot@champion")
    assert version.origin.endswith(f"/Hotline Bot/1?run={run_id}")
    assert "- metric loss: 0.5" in version.card and "- parameter lr: 0.1" in version.card
    assert synced() == [refused]

    second = _sent(gyre, weights)
    gyre.models.move_alias("hotline-bot", "champion", second)
    assert synced() == [
        refused,
        ("PUSHED", "hotline-bot@2", "Hotline Bot/3"),
        ("PUSHED", "hotline-bot@champion", "Hotline Bot/3"),
    ]
    with Mlflow(address) as mlflow:
        model = next(mlflow.models())
        pushed = mlflow.versions("Hotline Bot")[2]
        assert model.aliases == {"champion": "3"}
        assert pushed.tags["gyre.version"] == second
        assert pushed.tags["gyre.digest"] == gyre.models.version(second).digest
        mlflow.set_alias("Hotline Bot", "champion", "1")
        _check_runs(mlflow)
    assert synced("--model", "hotline-bot") == [refused, ("PULLED", "Hotline Bot@champion", "hotline-bot@1")]


def _check_runs(mlflow: Mlflow) -> None:
    """A run is brought once, with what is known of it."""
    run = Run({"learning_rate": "0.0002"}, {"loss": 1.25})
    made = [mlflow.ensure_run("gyre/p", ("gyre.run", "projects/p/runs/r"), "run 1", run) for _ in range(2)]
    assert made[0] == made[1]
    assert mlflow.run(made[0]) == run


def _sent(gyre: Gyre, weights: Path) -> str:
    upload = gyre.model_uploads.send(weights)
    made = gyre.models.import_version("hotline-bot", upload.uri)
    return gyre.models.wait_version(made.name, timeout=120).name


def _seed(address: str, weights: Path) -> str:
    """A model with a version in the layout of the transformers flavour, and a pickled one. Returns the run's id."""

    def call(path: str, **body: Any) -> dict[str, Any]:
        reply = httpx.post(f"{address}/api/2.0/mlflow/{path}", json=body, timeout=SECONDS)
        assert reply.is_success, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    experiment = call("experiments/create", name="training")["experiment_id"]
    info = call("runs/create", experiment_id=experiment, start_time=0)["run"]["info"]
    metrics = [{"key": "loss", "value": 0.5, "timestamp": 0, "step": 0}]
    call("runs/log-batch", run_id=info["run_id"], metrics=metrics, params=[{"key": "lr", "value": "0.1"}])
    root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    contents = {"good/MLmodel": b"flavors: {transformers: {}}\n", "bad/model.pkl": b"\x80\x04N."}
    for file in weights.iterdir():
        place = "components/tokenizer" if "token" in file.name or file.suffix == ".jinja" else "model"
        contents[f"good/{place}/{file.name}"] = file.read_bytes()
    for path, content in contents.items():
        reply = httpx.put(
            f"{address}/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", content=content, timeout=SECONDS
        )
        assert reply.is_success, reply.text
    call("registered-models/create", name="Hotline Bot", tags=[{"key": "team", "value": "city"}])
    for folder in ("good", "bad"):
        source = f"{info['artifact_uri']}/{folder}"
        call("model-versions/create", name="Hotline Bot", source=source, run_id=info["run_id"])
    call("registered-models/alias", name="Hotline Bot", alias="champion", version="1")
    return str(info["run_id"])
