"""What the scheduler says by a code, the console says by a sentence, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.gpu_scheduler.decisions.reasons import Reason, Rule

WORDS = Path(__file__).resolve().parents[2] / "services/console/src/i18n"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_and_every_rule_has_a_sentence(language: str) -> None:
    written = "".join(path.read_text() for path in (WORDS / language).glob("*.ts"))
    keys = [f"reason.{each}" for each in (*Reason, *Rule)] + [f"rule.{each}" for each in Rule]
    assert [key for key in keys if f'"{key}":' not in written] == []
