"""How fast a trainer is and what it holds, as metrics beside those of the method."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

TOKENS_SEEN = "num_tokens"  # TRL's count of all tokens so far


class Speed:
    """`tokens_per_second` since the report before; `memory_bytes`, the peak of the card, or of the process on a CPU."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: tuple[float, float] | None = None  # seconds, tokens

    def measured(self, logged: Mapping[str, Any]) -> dict[str, float]:
        found = {"memory_bytes": float(peak_memory_bytes())}
        tokens = logged.get(TOKENS_SEEN)
        if isinstance(tokens, int | float):
            now = self._clock(), float(tokens)
            if self._before is not None and now[0] > self._before[0]:
                found["tokens_per_second"] = (now[1] - self._before[1]) / (now[0] - self._before[0])
            self._before = now
        return found


def peak_memory_bytes() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
