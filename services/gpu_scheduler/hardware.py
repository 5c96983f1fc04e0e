"""What this machine has: cores and memory by psutil, cards by NVML."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil
import pynvml

from services.gpu_scheduler.settings import Settings

CPU_FLAVOR = "cpu"
SIMULATED_FLAVOR = "simulated"
SIMULATED_MEMORY = 24 * 1024**3
Value = TypeVar("Value")


@dataclass(frozen=True)
class CardReading:
    index: int
    uuid: str
    model: str
    memory_bytes: int
    memory_used_bytes: int = 0
    utilisation_percent: float = 0.0
    temperature_celsius: float = 0.0
    power_watts: float = 0.0
    simulated: bool = False


@dataclass(frozen=True)
class Machine:
    """A node as it is at this moment. `flavor` is a slug."""

    id: str
    hostname: str
    flavor: str
    cpu_milli: int
    memory_bytes: int
    cpu_percent: float
    memory_used_bytes: int
    cards: list[CardReading] = field(default_factory=list)

    @property
    def simulated(self) -> bool:
        return any(card.simulated for card in self.cards)


def read_machine(settings: Settings) -> Machine:
    """Blocks for some milliseconds. A machine without a driver is its CPU; that is no error."""
    hostname = socket.gethostname()
    memory = psutil.virtual_memory()
    cards = read_cards() or _simulated_cards(settings.simulated_cards)
    return Machine(
        id=_slug(settings.node_id or hostname) or "node",
        hostname=hostname,
        flavor=flavor_of(cards),
        cpu_milli=settings.node_cpu_milli or _cores() * 1000,
        memory_bytes=settings.node_memory_bytes or int(memory.total),
        cpu_percent=float(psutil.cpu_percent()),
        memory_used_bytes=int(memory.total - memory.available),
        cards=cards,
    )


def read_cards(nvml: Any = pynvml) -> list[CardReading]:
    """Every card that NVML lists; none where there is no driver."""
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        with suppress(pynvml.NVMLError):
            nvml.nvmlShutdown()


def flavor_of(cards: list[CardReading]) -> str:
    """A slug: the model of the cards, or `cpu`."""
    if not cards:
        return CPU_FLAVOR
    return SIMULATED_FLAVOR if cards[0].simulated else _slug(cards[0].model)


def _read_card(nvml: Any, index: int) -> CardReading:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return CardReading(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        model=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilisation_percent=_or(0.0, lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        temperature_celsius=_or(0.0, lambda: float(nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
        power_watts=_or(0.0, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    )


def _or(default: Value, read: Callable[[], Value]) -> Value:
    """Some cards lack a sensor (NVMLError_NotSupported)."""
    try:
        return read()
    except pynvml.NVMLError:
        return default


def _simulated_cards(count: int) -> list[CardReading]:
    return [
        CardReading(index, f"SIMULATED-{index}", "Simulated card", SIMULATED_MEMORY, simulated=True)
        for index in range(count)
    ]


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
