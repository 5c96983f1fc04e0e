"""The whole loop on a tiny model, through the doors that everybody has: SDK, OpenAI endpoint, feedback call.

Data → model → answer → feedback → review → better data → second model → gate → traffic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre.evaluation.v1.suite_pb2 import Scorer
from gyre.evaluation.v1.verdict_pb2 import GateRule
from gyre.training_scheduler.v1.pipeline_pb2 import GateSettings, PipelineSpec, ReplaySource, TrainingStep
from gyre.training_scheduler.v1.run_pb2 import Hyperparameters
from gyre_sdk import messages
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target

from tests.conftest import Running
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "loop"
TRAINING = {"batch_size": 8, "lora_rank": 4, "lora_alpha": 8, "max_length": 128, "learning_rate": 1e-3}
PATIENCE = 600


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT, consent_to_keep=True)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def lap1(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything up to a deployment that answers."""
    folder = tmp_path_factory.mktemp("tiny")
    file = _some_rows(folder)
    version = gyre.datasets.import_file(
        file, "hotline", "SFT", licence="CC0-1.0", origin="written for Gyre", split=SplitSettings(test_fraction=0.25)
    )
    version = gyre.datasets.wait_version(version.name, timeout=180)
    base = tiny_base(gyre, folder, file.read_text("utf-8").splitlines()[:-1])
    run = gyre.runs.create(
        display_name="lap 1",
        base=base,
        datasets=[version.name],
        hyperparameters={**TRAINING, "max_steps": 12},
        register_as=f"projects/{PROJECT}/models/hotline",
    )
    run = gyre.runs.wait(run.name, timeout=PATIENCE)
    registered = gyre.models.wait_version(gyre.models.await_run("hotline", run.name).name, timeout=180)
    variant = gyre.models.create_variant(registered.name, "Q8_0")
    variant = gyre.models.wait_variant(variant.name, timeout=300)
    scorer = Scorer(kind=Scorer.KIND_JSON_FIELDS, exact_fields=["department", "urgency"], text_field="reply")
    suite = gyre.suites.create("held-out", version.name, scorer, max_tokens=16, max_rows=12)
    deployment = gyre.deployments.create("hotline", [target(variant.name)])
    gyre.deployments.wait_ready(deployment.name, timeout=300)
    return {"data": version, "base": base, "run": run, "version": registered, "variant": variant, "suite": suite}


def _some_rows(folder: Path) -> Path:
    lines = (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:60]
    path = folder / "rows.jsonl"
    path.write_text("\n".join([*lines, "{broken"]) + "\n", "utf-8")
    return path


def test_a_broken_line_is_refused_by_line_and_reason(gyre: Gyre, lap1: dict[str, Any]) -> None:
    rejects = list(gyre.datasets.rejects(lap1["data"].name))
    assert 61 in [reject.line for reject in rejects]
    assert lap1["data"].row_count + len(rejects) == 61
    assert lap1["data"].licence == "CC0-1.0"


def test_the_run_trained_every_step_and_shows_its_loss(gyre: Gyre, lap1: dict[str, Any]) -> None:
    run = gyre.runs.get(lap1["run"].name)
    assert (run.step, run.total_steps) == (12, 12)
    losses = [point.metrics["loss"] for point in gyre.runs.metrics(run.name) if "loss" in point.metrics]
    assert losses[-1] < losses[0]


def test_the_second_lap_turns_feedback_into_a_version_that_serves(
    gyre: Gyre, running: Running, lap1: dict[str, Any]
) -> None:
    key = gyre.keys.create("VIEWER", "application").secret
    client = openai.OpenAI(base_url=running.openai_url, api_key=key, max_retries=0)
    rows = list(gyre.datasets.rows(lap1["data"].name, split="TRAIN"))[:4]
    completions = [_ask(client, row) for row in rows]
    _correct(running, key, dict(zip(completions, rows, strict=True)))
    _review(gyre, expected=4)
    batch = gyre.batches.wait(gyre.batches.create("corrections").name, timeout=180)
    assert (batch.sft_count, batch.preference_count) == (4, 4)

    passed = gyre.pipelines.wait(gyre.pipelines.create(_lap2(lap1, batch.name, bound=-1.0)).name, timeout=PATIENCE)
    assert messages.enum_name(passed, "state") == "SUCCEEDED", passed.failure_message
    aliases = {alias.name.rsplit("/", 1)[-1]: alias for alias in gyre.models.aliases("hotline")}
    assert aliases["champion"].version == passed.model_version
    assert gyre.models.resolve_alias("hotline", "champion").to_version == passed.model_version
    with pytest.raises(GyreError, match="pointed to nothing at that time"):
        gyre.models.resolve_alias("hotline", "champion", datetime(2020, 1, 1, tzinfo=UTC))
    serving = [t for t in gyre.deployments.get("hotline").targets if t.weight_percent]
    assert [t.model_version for t in serving] == [passed.model_version]

    answer = _ask(client, rows[0])
    nodes = {node.kind for node in _lineage(gyre, f"projects/{PROJECT}/completions/{answer}").nodes}
    assert {"completion", "variant", "model_version", "run", "dataset_version", "batch", "feedback"} <= nodes

    refused = gyre.pipelines.create(_lap2(lap1, batch.name, bound=0.0))
    refused = gyre.pipelines.wait(refused.name, timeout=PATIENCE)
    assert messages.enum_name(refused, "state") == "REFUSED"
    after = {alias.name.rsplit("/", 1)[-1]: alias.version for alias in gyre.models.aliases("hotline")}
    assert after["champion"] == passed.model_version


def test_a_lap_waits_for_people_and_then_learns_by_a_reward_model(
    gyre: Gyre, running: Running, lap1: dict[str, Any], tmp_path: Path
) -> None:
    """Written as YAML: corrections → policy, pairs → reward model, the policy against it; the three steps of InstructGPT."""
    (tmp_path / "lap.yaml").write_text(_rlhf_lap(lap1), "utf-8")
    started = running.command("-p", PROJECT, "pipelines", "start", "--spec", str(tmp_path / "lap.yaml"), "--no-watch")
    assert started.returncode == 0, started.stderr
    lap = next(iter(gyre.pipelines.list())).name
    _until(lambda: gyre.pipelines.get(lap).stages[0].message == "0 of 2 pieces of feedback are approved.")

    key = gyre.keys.create("VIEWER", "application").secret
    client = openai.OpenAI(base_url=running.openai_url, api_key=key, max_retries=0)
    rows = list(gyre.datasets.rows(lap1["data"].name, split="TRAIN"))[4:6]
    _correct(running, key, {_ask(client, row): row for row in rows})
    _review(gyre, expected=2)

    done = gyre.pipelines.wait(lap, timeout=PATIENCE)
    assert messages.enum_name(done, "state") == "SUCCEEDED", done.failure_message
    stages = {stage.id: stage for stage in done.stages}
    ppo = gyre.runs.get(stages["ppo"].resource)
    assert (ppo.spec.base, ppo.spec.reward_model) == (stages["sft"].resource, stages["reward"].resource)
    assert any("objective/kl" in point.metrics for point in gyre.runs.metrics(ppo.name))
    kinds = {node.kind for node in _lineage(gyre, done.model_version).nodes}
    assert {"run", "dataset_version", "batch", "feedback", "completion"} <= kinds
    again = running.command("-p", PROJECT, "pipelines", "spec", str(done.number))
    assert "min_feedback: 2" in again.stdout, again.stderr


def _rlhf_lap(lap1: dict[str, Any]) -> str:
    settings = "{batch_size: 4, max_length: 128, max_steps: 2, lora_rank: 4}"
    return f"""
base: {lap1["base"]}
collect: {{dataset_id: corrections, min_feedback: 2}}
sft: {{datasets: [{{version: {lap1["data"].name}, max_rows: 8}}], hyperparameters: {settings}}}
reward: {{hyperparameters: {settings}}}
ppo: {{hyperparameters: {settings[:-1]}, max_new_tokens: 8}}}}
register_as: projects/{PROJECT}/models/hotline
seed: 7
"""


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def _correct(running: Running, key: str, answers: dict[str, Any]) -> None:
    """Thumbs down on each answer, with what its row says in place of it."""
    for completion, row in answers.items():
        body = {"completion_id": completion, "rating": "thumbs_down", "correction": row.messages[-1].content + " "}
        reply = httpx.post(f"{running.openai_url}/feedback", json=body, headers={"authorization": f"Bearer {key}"})
        assert reply.status_code == 200, reply.text


def _ask(client: openai.OpenAI, row: Any) -> str:
    turns = [{"role": turn.role, "content": turn.content} for turn in row.messages[:-1]]
    words = {"ignore_eos": True, "seed": 1}  # so small a model would else say nothing at all
    answer = client.chat.completions.create(
        model="hotline", messages=turns, max_tokens=12, temperature=1.0, extra_body=words
    )
    return str(answer.id)


def _review(gyre: Gyre, expected: int) -> None:
    deadline = time.monotonic() + 30
    while len(waiting := list(gyre.feedback.list(filter="state=SUBMITTED"))) < expected:
        assert time.monotonic() < deadline, "feedback did not join its completions"
        time.sleep(0.2)
    for feedback in waiting:
        gyre.feedback.claim(feedback.name)
        gyre.feedback.approve(feedback.name)


def _lineage(gyre: Gyre, name: str) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            return gyre.models.lineage(name, direction="UPSTREAM", depth=16)
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.3)


def _lap2(lap1: dict[str, Any], batch: str, bound: float) -> PipelineSpec:
    settings = Hyperparameters(**TRAINING, max_steps=4)
    return PipelineSpec(
        base=lap1["version"].name,
        feedback_batch=batch,
        sft=TrainingStep(datasets=[ReplaySource(version=lap1["data"].name, max_rows=8)], hyperparameters=settings),
        dpo=TrainingStep(hyperparameters=settings),
        register_as=f"projects/{PROJECT}/models/hotline",
        quantisations=["Q8_0"],
        suites=[lap1["suite"].name],
        gate=GateSettings(rules=[GateRule(metric="exact", min_lower_bound=bound)]),
        alias="champion",
        deployment=f"projects/{PROJECT}/deployments/hotline",
        traffic_steps=[50, 100],
        traffic_step_seconds=1,
    )
