from __future__ import annotations

import json

import pytest
from gyre.training_scheduler.v1.run_pb2 import Estimate, FlavorEstimate, MemoryPart, SettingChoice
from gyre_sdk.cli import estimates
from gyre_sdk.cli.base import OPTIONS

CHOICE = SettingChoice(setting="batch_size", value="8", reason="BATCH_TOO_LARGE", message="Smaller, the same rows.")
ESTIMATE = Estimate(
    flavor="flavors/h100",
    steps=30,
    memory_bytes=60_000_000_000,
    parts=[MemoryPart(term="LOGITS", bytes=40_000_000_000), MemoryPart(term="WEIGHTS", bytes=20_000_000_000)],
    choices=[CHOICE],
    flavors=[
        FlavorEstimate(
            flavor="flavors/h100",
            fits=True,
            memory_bytes=60_000_000_000,
            available_bytes=80_000_000_000,
            seconds=90,
            cost_microusd=50_000,
            tokens_per_second=12_345,
            choices=[CHOICE],
            fastest=True,
        ),
        FlavorEstimate(
            flavor="flavors/l4",
            memory_bytes=30_000_000_000,
            available_bytes=24_000_000_000,
            reason="NOT_ENOUGH_MEMORY",
            remedy=SettingChoice(message="It would fit in 4 bits."),
        ),
        FlavorEstimate(flavor="flavors/tiny", reason="NOT_ENOUGH_CPU"),
    ],
)


def test_a_plan_is_a_line_for_each_flavor_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    estimates.show(ESTIMATE)
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[1] == "h100 yes 60.0 GB 80.0 GB 1 min 30 s $0.05 12,345 fastest, batch_size = 8"
    assert lines[2] == "l4 no 30.0 GB 24.0 GB NOT_ENOUGH_MEMORY. It would fit in 4 bits."
    assert lines[3] == "tiny no NOT_ENOUGH_CPU."
    assert "logits 40.0 GB" in lines and "batch_size = 8 Smaller, the same rows." in lines


def test_as_json_it_is_the_estimate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPTIONS, "json", True)
    estimates.show(ESTIMATE)
    found = json.loads(capsys.readouterr().out)
    assert [flavor["flavor"] for flavor in found["flavors"]] == ["flavors/h100", "flavors/l4", "flavors/tiny"]
