"""One file a policy. To add one: its file, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.gpu_scheduler.decisions.policies.backfill import Backfill, BestEffort
from services.gpu_scheduler.decisions.policies.base import Policy
from services.gpu_scheduler.decisions.policies.fair import Fair
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.hetero import Hetero
from services.gpu_scheduler.decisions.policies.las import Las
from services.gpu_scheduler.decisions.policies.srtf import Srtf

POLICIES: Mapping[str, Callable[[], Policy]] = {
    "fifo": Fifo,
    "best-effort": BestEffort,
    "backfill": Backfill,
    "fair": Fair,
    "las": Las,
    "hetero": Hetero,
    "srtf": Srtf,
}
DEFAULT = "hetero"


def named(name: str) -> Policy:
    """Raises: KeyError."""
    return POLICIES[name]()
