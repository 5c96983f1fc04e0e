"""What this machine has: cores and memory by psutil, cards by their makers' plug-ins."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
from gyre_kit.auth import write_private

from services.gpu_scheduler.cards import CardReading, read_cards
from services.gpu_scheduler.settings import Settings

CPU_FLAVOR = "cpu"
SIMULATED_FLAVOR = "simulated"
SIMULATED_MEMORY = 24 * 1024**3
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux
MACHINE_ID = "machine-id"  # in GYRE_HOME


@dataclass(frozen=True)
class Machine:
    """A node as it is at this moment, by whoever read it. `flavor` is a slug.

    `machine_id` tells two machines of one name apart; `boot_id` changes when a machine was started anew. Either may be
    empty, where it is not known.
    """

    id: str
    hostname: str
    flavor: str
    cpu_milli: int
    memory_bytes: int
    cpu_percent: float
    memory_used_bytes: int
    cards: list[CardReading] = field(default_factory=list)
    machine_id: str = ""
    boot_id: str = ""

    @property
    def simulated(self) -> bool:
        return any(card.simulated for card in self.cards)


def read_machine(settings: Settings) -> Machine:
    """Blocks for some milliseconds. A machine without a driver is its CPU; that is no error."""
    memory = psutil.virtual_memory()
    cards = read_cards() or _simulated_cards(settings.simulated_cards)
    return Machine(
        id=own_id(settings),
        hostname=socket.gethostname(),
        flavor=flavor_of(cards),
        cpu_milli=settings.node_cpu_milli or _cores() * 1000,
        memory_bytes=settings.node_memory_bytes or int(memory.total),
        cpu_percent=float(psutil.cpu_percent()),
        memory_used_bytes=int(memory.total - memory.available),
        cards=cards,
        machine_id=machine_id(settings.resolved_home),
        boot_id=_boot_id(),
    )


def own_id(settings: Settings) -> str:
    """Last part of the name of this machine's node."""
    return _slug(settings.node_id or socket.gethostname()) or "node"


def machine_id(home: Path) -> str:
    """Made once and kept with the state: who moves it to another machine moves the node, work folders and all."""
    path = home / MACHINE_ID
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        write_private(path, uuid4().hex.encode())
    return path.read_text().strip()


def flavor_of(cards: list[CardReading]) -> str:
    """A slug: the model of the cards, or `cpu`."""
    if not cards:
        return CPU_FLAVOR
    return SIMULATED_FLAVOR if cards[0].simulated else _slug(cards[0].model)


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


def _boot_id() -> str:
    with suppress(OSError):
        return BOOT_ID.read_text().strip()
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
