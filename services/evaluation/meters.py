"""What an engine takes of the machine: it and the processes below it, for some engines compute in children."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import psutil
import pynvml


def cpu_seconds(pid: int) -> float:
    """What the processes have computed so far, those that ended below them included."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_bytes(pid: int) -> int:
    """Resident sets together. A page that several processes map, such as a library's, counts in each."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return int(total)


def card_memory_bytes(pid: int, nvml: Any = pynvml) -> int:
    """Of all cards together, as NVML counts it for these processes; 0 where there is no card, or NVML cannot tell."""
    pids = {process.pid for process in _tree(pid)}
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return sum(_of_card(nvml, index, pids) for index in range(nvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return 0
    finally:
        with suppress(pynvml.NVMLError):
            nvml.nvmlShutdown()


def _of_card(nvml: Any, index: int, pids: Collection[int]) -> int:
    """NVML says None of a process of another container."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return sum(int(each.usedGpuMemory or 0) for each in processes if each.pid in pids)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
