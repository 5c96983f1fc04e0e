"""The door to the replay. Policies are known at once; the replay itself is loaded when it is first asked for."""

from __future__ import annotations

from services.gpu_scheduler.decisions.policies import DEFAULT as DEFAULT_POLICY
from services.gpu_scheduler.simulation.model import Options, Replay, Trace

__all__ = ["DEFAULT_POLICY", "replay"]


def replay(trace: Trace, policy: str, options: Options) -> Replay:
    """Feeds `trace` to the real policies and the real cycle, on a clock of its own. Raises: KeyError for no policy."""
    from services.gpu_scheduler.simulation.replay import replay as real

    return real(trace, policy, options)
