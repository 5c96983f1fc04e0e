from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.gpu_scheduler.simulation import scenarios
from services.gpu_scheduler.tests.simulation.quota_ends import ENDS


@pytest.mark.parametrize("name", ENDS)
def test_a_scenario_ends_as_the_documented_rules_say(name: str, tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps({"name": name, **ENDS[name]}))
    assert scenarios.run(path).faults == []


def test_another_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    given = ENDS["a borrowing limit of nothing is none of the cohort's"]
    path.write_text(json.dumps(given | {"final": {"usage_by_cq": {"a": 3}}}))
    assert len(scenarios.run(path).faults) == 1
