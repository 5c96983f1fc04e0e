"""Keeps who does not answer from being waited for by everybody."""

from __future__ import annotations

from services.gpu_scheduler.launchers.base import Unreachable


class Breaker:
    """After a silence only a probe (the question for the nodes, asked all the time) gets through, until it is answered."""

    def __init__(self) -> None:
        self._silent = False

    def check(self, *, probe: bool) -> None:
        """Raises: Unreachable, at once."""
        if self._silent and not probe:
            raise Unreachable("it did not answer when it was asked last, and nothing was heard of it since")

    def was_silent(self) -> None:
        self._silent = True

    def was_heard(self) -> None:
        self._silent = False
