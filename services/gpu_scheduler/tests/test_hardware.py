from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from services.gpu_scheduler.hardware import CardReading, flavor_of, read_cards, read_machine
from services.gpu_scheduler.settings import Settings


class Driver:
    """Stands for NVML on a machine with one card that has no power sensor."""

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, _: int) -> str:
        return "GPU-1"

    def nvmlDeviceGetName(self, _: int) -> str:
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetMemoryInfo(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(total=80, used=8)

    def nvmlDeviceGetUtilizationRates(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetTemperature(self, _: int, __: int) -> int:
        return 40

    def nvmlDeviceGetPowerUsage(self, _: int) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


class NoDriver:
    def nvmlInit(self) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_cards_are_read_by_nvml_and_a_missing_sensor_reads_zero() -> None:
    cards = read_cards(Driver())
    assert cards == [CardReading(0, "GPU-1", "NVIDIA H100 80GB HBM3", 80, 8, 50.0, 40.0, 0.0)]
    assert flavor_of(cards) == "nvidia-h100-80gb-hbm3"


def test_a_machine_without_a_driver_is_its_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_cards(NoDriver()) == []
    monkeypatch.setattr("services.gpu_scheduler.hardware.read_cards", list)
    machine = read_machine(Settings(home=tmp_path))
    assert machine.flavor == "cpu"
    assert machine.cpu_milli % 1000 == 0
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert not machine.simulated


def test_simulated_cards_say_that_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gpu_scheduler.hardware.read_cards", list)
    machine = read_machine(Settings(home=tmp_path, simulated_cards=2))
    assert machine.simulated
    assert [card.simulated for card in machine.cards] == [True, True]
    assert machine.flavor == "simulated"
