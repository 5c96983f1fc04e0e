"""Huawei Ascend, by the text of `npu-smi info`.

UNTESTED on real hardware: the tests run on texts written after the layout that Huawei documents ("npu-smi command
reference": `npu-smi info`, `ASCEND_RT_VISIBLE_DEVICES` in the CANN environment variables), for 910B, 310P and cards
with two chips. Each chip is a card: it has two rows, of which the second may name its logic id (columns `Device` or
`Phy-ID`), the number that `ASCEND_RT_VISIBLE_DEVICES` takes.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise

from services.gpu_scheduler.cards.maker import CardReading, Finding

log = logging.getLogger(__name__)
TOOL = "npu-smi"
SECONDS = 10.0  # the tool asks each chip in turn
PREFIX = "NPU-"
MIB = 1024**2
FIRST = re.compile(r"^(\d+)\s+(\S.*)$")  # NPU, name
SECOND = re.compile(r"^(\d+)(?:\s+(\d+))?$")  # chip, logic id
BUS = re.compile(r"^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]$")
USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")
VERSION = re.compile(r"Version:\s*(\S+)")
HEALTH = {
    "Warning": Finding("NPU_WARNING", "npu-smi calls its health Warning: see `npu-smi info -t health`.", fatal=False),
    "Alarm": Finding("NPU_ALARM", "npu-smi calls its health Alarm: see `npu-smi info -t health`."),
    "Critical": Finding("NPU_CRITICAL", "npu-smi calls its health Critical: see `npu-smi info -t health`."),
}


def run_tool() -> str:
    """What `npu-smi info` prints; empty where there is no such tool, or it fails."""
    path = shutil.which(TOOL)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, "info"], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("npu-smi failed", extra={"error": str(error)[:300]})
        return ""
    return done.stdout


class Ascend:
    """A Maker and no more. `ask` returns the text; a test gives it one."""

    name = "ascend"
    visible_devices_variable = "ASCEND_RT_VISIBLE_DEVICES"
    collective_library = "HCCL"

    def __init__(self, ask: Callable[[], str] = run_tool) -> None:
        self._ask = ask

    def discover(self) -> list[CardReading]:
        return parse(self._ask())

    def owns(self, uuid: str) -> bool:
        return uuid.startswith(PREFIX)

    def visible(self, uuids: Sequence[str]) -> str:
        """Logic ids: the runtime takes no uuids, so the logic id is part of ours."""
        return ",".join(str(number) for number in sorted(int(uuid[len(PREFIX) :].split("@")[0]) for uuid in uuids))


def parse(text: str) -> list[CardReading]:
    """The chips in the text of `npu-smi info`, in its order; what is no pair of rows of a chip is passed over."""
    version = VERSION.search(text)
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()]
    found: list[CardReading] = []
    for first, second in pairwise(rows):
        if len(first) == len(second) == 3 and FIRST.match(first[0]) and BUS.match(second[1]):
            found.append(_chip(first, second, len(found), version.group(1) if version else ""))
    return found


def _chip(first: list[str], second: list[str], place: int, version: str) -> CardReading:
    name, ids = FIRST.match(first[0]), SECOND.match(second[0])
    index = int(ids.group(2)) if ids and ids.group(2) else place
    power, temperature = (_number(word) for word in [*first[2].split(), "", ""][:2])
    used, total = ([(int(a), int(b)) for a, b in USAGE.findall(second[2]) if int(b)] or [(0, 0)])[-1]  # HBM is last
    finding = HEALTH.get(first[1])
    return CardReading(
        index=index,
        uuid=f"{PREFIX}{index}@{second[1].lower()}",
        model=f"Ascend {name.group(2)}" if name else "Ascend",
        memory_bytes=total * MIB,
        memory_used_bytes=used * MIB,
        utilisation_percent=_number(second[2].split()[0] if second[2] else ""),
        temperature_celsius=temperature,
        power_watts=power,
        driver_version=version,
        findings=(finding,) if finding else (),
    )


def _number(word: str) -> float:
    """0 for what the tool does not know (`NA`, `-`)."""
    try:
        return float(word)
    except ValueError:
        return 0.0
