"""Of processes that run, and of a stand-in for NVML, which this machine may not have."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pynvml

from services.evaluation import meters

PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "x = b'1' * 200_000_000; sum(range(30_000_000)); print('ready', flush=True); input()"])
"""


class OneCard:
    """Two processes compute on it, and a third of which NVML tells nothing."""

    def __init__(self, pid: int) -> None:
        used = [(pid, 5_000), (pid + 1_000_000, 7_000), (pid, None)]
        self.processes = [SimpleNamespace(pid=each, usedGpuMemory=taken) for each, taken in used]

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:
        return self.processes


class NoDriver(OneCard):
    def nvmlInit(self) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def test_what_children_take_counts() -> None:
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT], **streams) as parent:  # type: ignore[call-overload]
        assert parent.stdout.readline() == b"ready\n"
        assert meters.memory_bytes(parent.pid) > 200_000_000
        running = meters.cpu_seconds(parent.pid)
        assert running > 0.1
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        parent.wait(30)
    assert meters.memory_bytes(parent.pid) == meters.cpu_seconds(parent.pid) == 0


def test_memory_of_cards_is_that_of_these_processes_as_far_as_nvml_tells() -> None:
    assert meters.card_memory_bytes(os.getpid(), OneCard(os.getpid())) == 5_000
    assert meters.card_memory_bytes(os.getpid(), NoDriver(os.getpid())) == 0
