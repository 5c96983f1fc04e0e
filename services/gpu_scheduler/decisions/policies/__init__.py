"""One file a policy. To add one: its file, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.gpu_scheduler.decisions.policies.backfill import BestEffort
from services.gpu_scheduler.decisions.policies.base import Policy
from services.gpu_scheduler.decisions.policies.fair import Fair
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.srtf import Srtf

POLICIES: Mapping[str, Callable[[], Policy]] = {
    "fifo": Fifo,
    "best-effort": BestEffort,
    "fair": Fair,
    "srtf": Srtf,
}


def named(name: str) -> Policy:
    """Raises: KeyError."""
    return POLICIES[name]()
