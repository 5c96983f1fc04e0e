"""By priority and age, and who fits may pass."""

from __future__ import annotations

from services.gpu_scheduler.decisions.policies.fifo import Fifo


class BestEffort(Fifo):
    """Kueue's BestEffortFIFO: who does not fit is stepped over, and nothing is kept for it."""

    name = "best-effort"
    strict = False
