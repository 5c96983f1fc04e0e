"""The table of a comparison, as people see it."""

from __future__ import annotations

import pytest
from gyre.evaluation.v1.comparison_pb2 import Candidate, Comparison, FlavorCost, FlavorCosts
from gyre.evaluation.v1.evaluation_pb2 import CostFigures, SliceScore
from gyre_sdk.cli import compare

VERSION = "projects/p/models/hotline/versions/2"


def measured(quantisation: str, score: float, **fields: object) -> Candidate:
    return Candidate(
        quantisation=quantisation,
        state=Candidate.STATE_MEASURED,
        variant=f"{VERSION}/variants/{quantisation}",
        size_bytes=105_000_000,
        score=SliceScore(metric="exact", value=score, lower=score - 0.05, upper=score + 0.05),
        cost=CostFigures(memory_bytes=300_000_000, perplexity=1.23456, time_to_first_token_p50_ms=51.6),
        tokens_per_second=211.4,
        million_tokens_microusd=52_600,
        **fields,  # type: ignore[arg-type]
    )


def test_a_comparison_is_a_table_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    q4 = measured(
        "Q4_K_M", 0.85, calibrated=True, difference=-0.02, difference_lower=-0.04, difference_upper=0.01, on_front=True
    )
    broken = Candidate(quantisation="Q6_K", state=Candidate.STATE_FAILED, failure_message="it cannot be made")
    compare.show(
        Comparison(
            number=3,
            state=Comparison.STATE_SUCCEEDED,
            version=VERSION,
            baseline="F16",
            candidates=[measured("F16", 0.87, within_margin=True), q4, broken],
            recommended=q4.variant,
            recommendation_message="It is cheapest.",
        )
    )
    head, f16, q4_line, q6_line, _, last = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["CANDIDATE", "ENGINE", "SIZE", "MEMORY", "PERPLEXITY"]
    assert [word in f16 for word in ("105.0 MB", "300.0 MB", "1.2346", "87.0%", "52 ms", "211/s", "0.053")] == [
        True
    ] * 7
    assert "Q4_K_M + calibration" in q4_line
    assert "-2.0 (-4.0 to +1.0)" in q4_line
    assert "FAILED" in q6_line
    assert "it cannot be made" in q6_line
    assert last == "Recommended: hotline@2:Q4_K_M. It is cheapest."


def test_a_flavor_where_nothing_was_measured_says_so_and_how_to_measure_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cost = FlavorCost(quantisation="Q4_K_M", million_tokens_microusd=52_600, score=0.85, on_front=True)
    flavors = [FlavorCosts(flavor="flavors/cpu", costs=[cost]), FlavorCosts(flavor="flavors/l4")]
    compare.show_flavors(Comparison(version=VERSION, suite="projects/p/suites/heldout"), flavors)
    _, _, cpu, l4, _, last = capsys.readouterr().out.splitlines()
    assert cpu.split() == ["cpu", "Q4_K_M", "0.053", "85.0%", "yes"]
    assert l4.split() == ["l4", "not", "measured", "there"]
    assert last == "To measure there: gyre models compare hotline@2 --suite heldout --flavor l4"


def test_one_that_still_runs_says_how_far_it_is() -> None:
    states = [Candidate.STATE_MEASURED, Candidate.STATE_EVALUATING, Candidate.STATE_WAITING]
    running = Comparison(
        number=3,
        version=VERSION,
        state=Comparison.STATE_RUNNING,
        candidates=[Candidate(quantisation=f"Q{index}", state=state) for index, state in enumerate(states)],
    )
    assert compare.line(running) == "comparison #3 RUNNING · 1/3 measured · Q1 evaluating"
    assert compare.share(running) == pytest.approx(1 / 3)


def test_of_models_each_is_called_by_its_own_name_and_the_best_has_no_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    best, other = measured("Q8_0", 0.87, within_margin=True), measured("Q8_0", 0.5)
    other.variant = "projects/p/models/small/versions/1/variants/q8-0"
    compare.show(Comparison(baseline=best.variant, candidates=[other, best], recommended=best.variant))
    _, small_line, best_line, *_ = capsys.readouterr().out.splitlines()
    assert small_line.startswith("small@1:q8-0") and "+0.0 (+0.0 to +0.0)" in small_line
    assert best_line.startswith("hotline@2:Q8_0") and "(+0.0" not in best_line
