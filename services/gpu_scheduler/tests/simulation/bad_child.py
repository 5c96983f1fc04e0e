"""A what-if's process that goes wrong in the way that the question's policy names."""

from __future__ import annotations

import os
import time
from pathlib import Path

from services.gpu_scheduler.simulation.child import main
from services.gpu_scheduler.simulation.model import Options, Replay, Trace


def replay(trace: Trace, policy: str, options: Options) -> Replay:
    what, _, path = policy.partition(":")
    if what == "sleep":
        Path(path).write_text(str(os.getpid()))
        time.sleep(60)
    if what == "eat":
        return Replay(policy, [], {"f": float(len(bytearray(1 << 40)))})
    raise RuntimeError("it went wrong")


if __name__ == "__main__":
    main(replay)
