from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from services.gpu_scheduler.cards import CardReading
from services.gpu_scheduler.hardware import flavor_of, machine_id, read_machine
from services.gpu_scheduler.settings import Settings


@pytest.fixture(autouse=True)
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gpu_scheduler.hardware.read_cards", list)


def test_a_machine_without_a_driver_is_its_cpu(tmp_path: Path) -> None:
    machine = read_machine(Settings(home=tmp_path))
    assert machine.flavor == "cpu"
    assert machine.cpu_milli % 1000 == 0
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert not machine.simulated


def test_simulated_cards_say_that_they_are(tmp_path: Path) -> None:
    machine = read_machine(Settings(home=tmp_path, simulated_cards=2))
    assert machine.simulated
    assert [card.simulated for card in machine.cards] == [True, True]
    assert machine.flavor == "simulated"


def test_a_flavor_is_the_model_of_its_cards() -> None:
    assert flavor_of([CardReading(0, "GPU-1", "NVIDIA H100 80GB HBM3", 80)]) == "nvidia-h100-80gb-hbm3"


def test_a_machine_keeps_its_id_with_its_state_and_another_has_another(tmp_path: Path) -> None:
    first = machine_id(tmp_path / "a")
    assert first
    assert machine_id(tmp_path / "a") == first
    assert machine_id(tmp_path / "b") != first
