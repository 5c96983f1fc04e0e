"""The door to the replay: it is loaded when it is first asked for, so that the service's start does not pay for it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from services.gpu_scheduler.simulation.model import Options, Replay, Trace

REPLAY = "services.gpu_scheduler.simulation.replay"
SCENARIOS = "services.gpu_scheduler.simulation.scenarios"
POLICIES = ("fifo", "backfill", "fair", "las", "hetero", "srtf")  # srtf is the oracle: it alone knows durations
DEFAULT_POLICY = "hetero"


def replay(trace: Trace, policy: str, options: Options) -> Replay:
    """Feeds `trace` to the real policies and the real cycle, on a clock of its own."""
    result: Replay = import_module(REPLAY).replay(trace, policy, options)
    return result


def scenario(path: Path) -> dict[str, Any]:
    """Replays a scenario: `{"scenario", "as_expected", "differences": [sentence, …], …}`. Raises: Invalid."""
    result: dict[str, Any] = import_module(SCENARIOS).run(path)
    return result
