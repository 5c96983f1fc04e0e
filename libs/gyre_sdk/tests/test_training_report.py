"""A run as one page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from gyre.training_scheduler.v1.run_pb2 import METHOD_SFT, Alarm, MetricPoint, Run, RunInput, RunSpec, Sample
from gyre_sdk.cli import training_report

DATA = RunInput(role=RunInput.ROLE_DATA, name="projects/p/datasets/rows/versions/3", digest="sha256:ab", rows=60)


def finished(**fields: object) -> Run:
    run = Run(number=7, state=Run.STATE_SUCCEEDED, display_name="a <b> run", step=30, total_steps=30, **fields)  # type: ignore[arg-type]
    run.spec.CopyFrom(RunSpec(method=METHOD_SFT, seed=11))
    run.spec.hyperparameters.learning_rate = 2e-4
    run.inputs.append(DATA)
    return run


def test_a_page_has_data_settings_curves_alarms_and_cost_and_loads_nothing() -> None:
    points = [MetricPoint(step=step, metrics={"loss": 3 / step, "epoch": step / 10}) for step in range(1, 31)]
    alarm = Alarm(kind=Alarm.KIND_LOSS_SPIKE, action=Alarm.ACTION_WARN, step=12, detail="<script>")
    page = training_report.page(finished(cost_microusd=12_000), points, [alarm])
    for said in ("rows@3, 60 rows, sha256:ab", "learning_rate", "0.0002", "Step 12", "LOSS_SPIKE: WARN", "$0.012"):
        assert said in page
    assert "loss from 3 to 0.1" in page and "epoch" not in page
    assert "a &lt;b&gt; run" in page and "<script" not in page
    outside = re.findall(r"(?:src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg)", page)
    assert outside == []
    HTMLParser().feed(page)
    assert page == training_report.page(finished(cost_microusd=12_000), points, [alarm])


@pytest.mark.parametrize("count", [1, 400, 401, 5000])
def test_a_long_curve_is_thinned_and_keeps_its_end(count: int) -> None:
    points = [MetricPoint(step=step, metrics={"loss": 1.0}) for step in range(1, count + 1)]
    ((name, curve),) = training_report.curves(points)
    assert name == "loss" and curve[-1][0] == count
    assert min(count, 200) <= len(curve) <= training_report.MOST_POINTS
    assert [step for step, _ in curve] == sorted(step for step, _ in curve)


def test_answers_of_before_and_after_stand_beside_what_the_data_says() -> None:
    said = [
        Sample(number=1, step=step, prompt="<b>?", expected="Yes.", answer=f"answer {step}") for step in (0, 20, 30)
    ]
    page = training_report.page(finished(), [], [], said)
    assert "&lt;b&gt;?" in page and "Yes." in page
    assert "answer 0" in page and "answer 30" in page and "answer 20" not in page


def test_a_run_without_a_step_has_a_page_too() -> None:
    assert "No values." in training_report.page(finished(), [], [])
