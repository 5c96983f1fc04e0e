"""Ten steps of a run are tried over the whole platform, on a tiny base, while a service is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from gyre.dataset.v1.version_pb2 import SplitSettings

from tests.chaos.harness import pids
from tests.conftest import Running
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "tries"
SETTINGS = ("batch_size=4", "max_length=128", "max_steps=30", "lora_rank=4", "checkpoint_every=2")


def test_a_try_shows_what_the_run_would_do_and_survives_its_service(running: Running, tmp_path: Path) -> None:
    running.client().projects.create(PROJECT)
    gyre = running.client(PROJECT)
    lines = (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:60]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    data = gyre.datasets.import_file(tmp_path / "rows.jsonl", "rows", "SFT", split=SplitSettings(test_fraction=0.25))
    gyre.datasets.wait_version(data.name, timeout=180)
    tiny_base(gyre, tmp_path, lines)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    asked = ("--base", "tiny@1", "--data", "rows@1", *settings)

    begun = running.command("-p", PROJECT, "runs", "try", *asked, "--no-watch", "--json")
    assert begun.returncode == 0, begun.stderr
    os.kill(pids(running)["training_scheduler"], signal.SIGKILL)
    name = json.loads(begun.stdout)["name"].rpartition("/")[2]
    done = running.command("-p", PROJECT, "runs", "tried", name, "--json", timeout=400)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    report = found["report"]
    assert (report["steps"], report["total_steps"], len(report["losses"])) == (10, 30, 10)
    pieces = report["samples"][0]["sides"]["text"]["pieces"]
    assert {bool(piece.get("loss")) for piece in pieces} == {True, False}
    assert report["step_seconds"] > 0 and report["training_seconds"]["expected"] > 0
    assert int(report["peak_memory_bytes"]) > 0 and int(found["estimate"]["memory_bytes"]) > 0
    assert gyre.runs.page().items == []
    assert not list((running.home / "objects").glob(f"runs/{name}*"))

    run = running.command("-p", PROJECT, "runs", "start", *asked, "--json", timeout=400)
    assert run.returncode == 0, run.stderr
    points = [point for point in gyre.runs.metrics(gyre.runs.page().items[0].name) if "loss" in point.metrics]
    assert [point.metrics["loss"] for point in points[:10]] == report["losses"]
