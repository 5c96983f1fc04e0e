"""How long to wait before a process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubles from `first` to at most `limit` seconds; a process that was healthy for `healthy` seconds resets it."""

    first: float = 0.5
    limit: float = 30.0
    healthy: float = 60.0
    _next: float = 0.0

    def after(self, healthy_seconds: float) -> float:
        """The delay after a process died that had been ready for `healthy_seconds` (0 if it never was)."""
        if self._next == 0.0 or healthy_seconds >= self.healthy:
            self._next = self.first
        delay, self._next = self._next, min(self._next * 2, self.limit)
        return delay
