"""Quantisations compared on a tiny model, through the SDK: real conversion, real importance matrix, real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre.evaluation.v1.comparison_pb2 import Candidate, Comparison
from gyre.evaluation.v1.suite_pb2 import Scorer
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError

from tests.conftest import Running
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "compare"


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def done(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("tiny")
    lines = (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:40]
    file = folder / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    data = gyre.datasets.import_file(file, "hotline", "SFT", split=SplitSettings(test_fraction=0.4))
    data = gyre.datasets.wait_version(data.name, timeout=180)
    version = tiny_base(gyre, folder, lines, hidden=256)
    suite = gyre.suites.create("held-out", data.name, Scorer(kind=Scorer.KIND_EXACT_TEXT), max_tokens=8, max_rows=4)
    made = gyre.comparisons.create(
        version, suite.name, quantisations=["Q8_0", "Q4_K_M"], metric="text", margin=0.5, calibration=data.name
    )
    return gyre.comparisons.wait(made.name, timeout=600)


def test_every_candidate_is_made_served_and_measured(gyre: Gyre, done: Comparison) -> None:
    assert [it.quantisation for it in done.candidates] == ["F16", "Q8_0", "Q4_K_M"]
    for candidate in done.candidates:
        assert candidate.state == Candidate.STATE_MEASURED, candidate.failure_message
        assert candidate.score.count == 4
        assert candidate.cost.memory_bytes > candidate.size_bytes
        assert candidate.cost.perplexity > 1
        assert candidate.cost.time_to_first_token_p50_ms > 0
        assert candidate.million_tokens_microusd > 0
        assert candidate.flavor == "flavors/cpu"
    f16, q8, q4 = done.candidates
    assert f16.size_bytes > q8.size_bytes > q4.size_bytes
    assert q8.cost.perplexity == pytest.approx(f16.cost.perplexity, rel=0.01)
    assert q4.cost.perplexity != f16.cost.perplexity


def test_the_recommendation_is_the_cheapest_within_the_margin(done: Comparison) -> None:
    costs = {it.variant: it.million_tokens_microusd for it in done.candidates if it.within_margin}
    assert costs[done.recommended] == min(costs.values())
    assert done.recommendation_reason
    assert any(it.on_front for it in done.candidates)


def test_the_calibrated_variant_says_on_what_and_its_lineage_leads_there(gyre: Gyre, done: Comparison) -> None:
    variant = gyre.models.variant(done.candidates[-1].variant)
    assert variant.name.endswith("/q4-k-m-hotline-1")
    assert "matrices weighed by an importance matrix" in variant.note
    sources = {edge.source: edge.relation for edge in gyre.models.lineage(variant.name, "upstream").edges}
    assert sources[variant.calibration] == "calibrated_on"


def test_what_the_registry_refuses_is_refused_at_once(gyre: Gyre, done: Comparison) -> None:
    with pytest.raises(GyreError, match="Q1_0"):
        gyre.comparisons.create(done.version, done.suite, quantisations=["Q1_0"])
    with pytest.raises(GyreError) as error:
        gyre.comparisons.create(f"projects/{PROJECT}/models/none/versions/1", done.suite)
    assert error.value.status == 404
