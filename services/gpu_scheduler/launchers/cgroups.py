"""Limits of the kernel around one attempt, where a cgroup (version 2) was delegated to this service.

systemd does so with `Delegate=yes` and `DelegateSubgroup=service`; https://docs.kernel.org/admin-guide/cgroup-v2.html.
The attempt's group is a sibling of ours: a group with processes of its own cannot have limited children.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.gpu_scheduler.launchers.base import Member

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
NEEDED = frozenset({"memory", "cpu"})
PERIOD_MICROSECONDS = 100_000  # the kernel's default
WEIGHT_OF_A_CORE = 100  # the kernel's default weight; it allows 1 to 10000
PREFIX = "gyre-"


@dataclass(frozen=True)
class Delegation:
    """`folder`: where groups may be made; None where they may not, and `why`."""

    folder: Path | None
    why: str = ""


def find(own: Path = OWN, root: Path = ROOT) -> Delegation:
    """Looks; changes nothing."""
    if not (root / "cgroup.controllers").exists():
        return Delegation(None, "this machine has no cgroups of version 2")
    line = next((line for line in own.read_text().splitlines() if line.startswith("0::")), "0::/")
    folder = (root / line.removeprefix("0::/")).parent
    if folder == root.parent or not os.access(folder / "cgroup.subtree_control", os.W_OK):
        return Delegation(None, f"{folder} is not delegated to this service")
    lacking = NEEDED - set((folder / "cgroup.controllers").read_text().split())
    if lacking:
        return Delegation(None, f"{folder} has no controller of {', '.join(sorted(lacking))}")
    return Delegation(folder)


def take(own: Path = OWN, root: Path = ROOT) -> Delegation:
    """Has our parent pass its controllers on to the groups that we make."""
    found = find(own, root)
    if found.folder is None:
        return found
    try:
        (found.folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(NEEDED)))
    except OSError as error:
        return Delegation(None, f"{found.folder} does not pass its controllers on: {error}")
    return found


def make(folder: Path, name: str, member: Member, *, limit_cpu: bool) -> Path:
    """A group with the limits of `member`; amounts of 0 are no limit. Raises: OSError."""
    group = folder / f"{PREFIX}{name}"
    group.mkdir(exist_ok=True)
    if member.memory_bytes:
        (group / "memory.max").write_text(str(member.memory_bytes))
    if member.cpu_milli:
        (group / "cpu.weight").write_text(str(min(10_000, max(1, member.cpu_milli * WEIGHT_OF_A_CORE // 1000))))
    if member.cpu_milli and limit_cpu:
        (group / "cpu.max").write_text(f"{member.cpu_milli * PERIOD_MICROSECONDS // 1000} {PERIOD_MICROSECONDS}")
    return group


def remove(folder: Path, name: str) -> None:
    """The kernel lets it go only when no process is left in it."""
    with suppress(OSError):
        (folder / f"{PREFIX}{name}").rmdir()
