"""A project of its own, `gallery`: five real things of every kind, on a model so tiny that it takes minutes.

`make screenshots` photographs a list here where the demo leaves fewer than five rows. Nothing in it is made up: the
runs trained, the evaluations measured, the gate judged. The scores are those of a random model that saw a few rows.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre.evaluation.v1.suite_pb2 import Scorer
from gyre.evaluation.v1.verdict_pb2 import GateRule
from gyre.feedback.v1.feedback_pb2 import Feedback
from gyre.training_scheduler.v1.pipeline_pb2 import GateSettings, PipelineSpec, ReplaySource, TrainingStep
from gyre.training_scheduler.v1.run_pb2 import Hyperparameters
from gyre_sdk import messages
from gyre_sdk.client import Gyre
from gyre_sdk.config import Config, load
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target

from tests.browser import traffic
from tests.tiny import tiny_base

PROJECT = "gallery"
HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PATIENCE = 900
FIVE = 5
TRAINING = {"batch_size": 8, "lora_rank": 4, "lora_alpha": 8, "max_length": 128}
# Enough rows for a curve, few enough for seconds.
ROWS = 80
DATASETS = {
    "hotline": ("Citizens' hotline", "hotline.en.jsonl", "SFT", "en"),
    "hotline-zh": ("市民热线", "hotline.zh.jsonl", "SFT", "zh"),
    "new-department": ("A new department", "new_department.en.jsonl", "SFT", "en"),
    "new-department-zh": ("新部门", "new_department.zh.jsonl", "SFT", "zh"),
    "hotline-held-out": ("Held out for evaluation", "hotline.en.jsonl", "EVALUATION", "en"),
}
MODELS = {
    "careful": ("Careful", 3e-4, 30),
    "bold": ("Bold", 3e-3, 30),
    "patient": ("Patient", 1e-3, 90),
    "hasty": ("Hasty", 1e-3, 10),
}
COMPARED = "compared"
ASKED = "patient"  # the one that answers, and that the laps make better
KEYS = {"front desk": "VIEWER", "night shift": "REVIEWER", "trainer": "ENGINEER", "dashboard": "VIEWER"}
SCORER = Scorer(kind=Scorer.KIND_EXACT_TEXT)
# By how much a lap must gain (chrF, from 0 to 1) before it may serve: two that pass, three that are refused.
BOUNDS = (-1.0, 0.4, -1.0, 0.2, 0.6)
REPLY_TOKENS = 24


def fill(config: Config) -> str:
    """The id of a full gallery; makes it, in some minutes, unless it is there. Raises: GyreError."""
    admin = Gyre(config=config)
    project, is_full = _place(admin)
    if is_full:
        return project
    admin.projects.create(project, display_name="Gallery", consent_to_keep=True)
    gyre = Gyre(config=replace(config, project=project))
    for name, role in KEYS.items():
        gyre.keys.create(role, name)
    with tempfile.TemporaryDirectory() as folder:
        data = dict(_datasets(gyre, Path(folder)))
        base = tiny_base(gyre, Path(folder), _lines("hotline.en.jsonl") + _lines("hotline.zh.jsonl"))
    variants = _variants(gyre, [base, *_models(gyre, base, data["hotline"])])
    _suites_and_verdicts(gyre, variants, data)
    served = dict(zip(["tiny", *MODELS], variants, strict=True))
    _deploy(gyre, {ASKED: served.pop(ASKED)})
    application = Gyre(config=replace(gyre.config, key=gyre.keys.create("VIEWER", "application").secret))
    batches = _feedback(gyre, application, data["new-department"])
    _say("prompts, traces, batches of questions, an experiment")
    traffic.fill(gyre, application, ASKED, data["hotline-held-out"])
    _pipelines(gyre, base, data["hotline"], batches)
    traffic.experiment(gyre, application, COMPARED, (served["careful"], served["bold"]))
    _deploy(gyre, served)  # last: with five replicas no trainer finds room on two cores
    return project


def _place(admin: Gyre) -> tuple[str, bool]:
    """The first gallery that is full, else the first name that is free: one that was interrupted stays as it is."""
    for number in itertools.count(1):
        project = PROJECT if number == 1 else f"{PROJECT}-{number}"
        try:
            admin.projects.get(project)
        except GyreError as error:
            if error.not_found:
                return project, False
            raise
        laps = Gyre(config=replace(admin.config, project=project)).pipelines.list()
        if sum(messages.enum_name(lap, "state") in ("SUCCEEDED", "REFUSED") for lap in laps) >= FIVE:
            return project, True
    raise AssertionError("unreachable")


def _say(text: str) -> None:
    sys.stdout.write(f"gallery: {text}\n")
    sys.stdout.flush()


def _lines(name: str) -> list[str]:
    return (HOTLINE / name).read_text("utf-8").splitlines()[:ROWS]


def _datasets(gyre: Gyre, folder: Path) -> Iterator[tuple[str, str]]:
    """Each with two rows that are refused, for two reasons."""
    for slug, (title, source, kind, language) in DATASETS.items():
        _say(f"data set {slug}")
        path = folder / f"{slug}.jsonl"
        path.write_text("\n".join([*_lines(source), "{broken", '{"messages": []}']) + "\n", "utf-8")
        gyre.datasets.create(
            slug, kind, display_name=title, licence="CC0-1.0", origin="written for Gyre", language=language
        )
        version = gyre.datasets.import_file(path, slug, kind, split=SplitSettings(test_fraction=0.3))
        yield slug, gyre.datasets.wait_version(version.name, timeout=PATIENCE).name


def _models(gyre: Gyre, base: str, data: str) -> Iterator[str]:
    for slug, (title, rate, steps) in MODELS.items():
        _say(f"training run {slug}")
        gyre.models.create(slug, display_name=title, licence="CC0-1.0", origin="trained on this platform")
        run = gyre.runs.create(
            display_name=title,
            base=base,
            datasets=[data],
            hyperparameters={**TRAINING, "learning_rate": rate, "max_steps": steps},
            register_as=f"projects/{gyre.config.project}/models/{slug}",
        )
        gyre.runs.wait(run.name, timeout=PATIENCE)
        yield gyre.models.wait_version(gyre.models.await_run(slug, run.name).name, timeout=PATIENCE).name


def _variants(gyre: Gyre, versions: list[str]) -> list[str]:
    """Q8_0 of each, and F16 of the first."""
    _say("variants")
    asked = [gyre.models.create_variant(version, "Q8_0").name for version in versions]
    gyre.models.create_variant(versions[0], "F16")
    return [gyre.models.wait_variant(name, timeout=PATIENCE).name for name in asked]


def _suites_and_verdicts(gyre: Gyre, variants: list[str], data: dict[str, str]) -> None:
    for slug, version in data.items():
        title = DATASETS[slug][0]
        gyre.suites.create(slug, version, SCORER, display_name=title, max_tokens=REPLY_TOKENS, max_rows=12)
    suite = f"projects/{gyre.config.project}/suites/hotline"
    _say("evaluations")
    asked = [gyre.evaluations.create(variant, suite).name for variant in variants]
    base, *tuned = [gyre.evaluations.wait(name, timeout=PATIENCE).name for name in asked]
    rules = [GateRule(metric="text", min_lower_bound=0.0)]
    for candidate, baseline in [*((one, base) for one in tuned), (tuned[0], tuned[-1])]:
        gyre.verdicts.create(candidate, baseline, rules)


def _deploy(gyre: Gyre, variants: dict[str, str]) -> None:
    _say(f"deployments {', '.join(variants)}")
    for slug, variant in variants.items():
        gyre.deployments.create(slug, [target(variant)], display_name=slug.capitalize())
    for slug in variants:
        gyre.deployments.wait_ready(slug, timeout=PATIENCE)


def _feedback(gyre: Gyre, application: Gyre, data: str) -> list[str]:
    """Eighteen answers, corrected: six wait, seven are approved (five of them in a batch each), five are rejected."""
    _say("feedback")
    rows = list(gyre.datasets.rows(data, split="TRAIN"))[:18]
    given = [_corrected(application, row.messages) for row in rows]
    for feedback in given[6:]:
        _await_joined(gyre, feedback.name)
        gyre.feedback.claim(feedback.name)
    for feedback in given[6:13]:
        gyre.feedback.approve(feedback.name)
    for feedback in given[13:]:
        gyre.feedback.reject(feedback.name, "the answer was good enough")
    batches = [gyre.batches.create("corrections", [feedback.name]).name for feedback in given[6:11]]
    return [gyre.batches.wait(name, timeout=PATIENCE).name for name in batches]


def _corrected(application: Gyre, turns: Any) -> Feedback:
    *asked, wanted = turns
    question = [{"role": turn.role, "content": turn.content} for turn in asked]
    *_, last = application.chat(ASKED, question, max_tokens=REPLY_TOKENS, temperature=0.0, ignore_eos=True)
    return application.feedback.submit(
        last.completion, "THUMBS_DOWN", correction=wanted.content, slice="new department"
    )


def _await_joined(gyre: Gyre, feedback: str) -> None:
    """Until it has met its completion, which comes by an event."""
    deadline = time.monotonic() + PATIENCE
    while messages.enum_name(gyre.feedback.get(feedback), "state") != "SUBMITTED":
        if time.monotonic() > deadline:
            raise TimeoutError("feedback did not join its completion")
        time.sleep(0.2)


def _pipelines(gyre: Gyre, base: str, data: str, batches: list[str]) -> None:
    """A lap for each batch; whether it serves afterwards is the gate's decision."""
    project = gyre.config.project
    settings = Hyperparameters(**TRAINING, learning_rate=1e-3, max_steps=5)  # type: ignore[arg-type]
    laps = []
    for number, (batch, bound) in enumerate(zip(batches, BOUNDS, strict=True), start=1):
        spec = PipelineSpec(
            base=base,
            feedback_batch=batch,
            sft=TrainingStep(datasets=[ReplaySource(version=data, max_rows=16)], hyperparameters=settings),
            dpo=TrainingStep(hyperparameters=settings) if number == 1 else None,
            register_as=f"projects/{project}/models/{ASKED}",
            quantisations=["Q8_0"],
            suites=[f"projects/{project}/suites/hotline"],
            gate=GateSettings(rules=[GateRule(metric="text", min_lower_bound=bound)]),
            alias="champion",
            deployment=f"projects/{project}/deployments/{ASKED}",
            traffic_steps=[50, 100],
            traffic_step_seconds=1,
        )
        laps.append(gyre.pipelines.create(spec, display_name=f"Lap {number}").name)
    for lap in laps:
        _say(f"lap {lap.rsplit('/', 1)[-1]}")
        gyre.pipelines.wait(lap, timeout=PATIENCE, check=False)


if __name__ == "__main__":
    fill(load())
