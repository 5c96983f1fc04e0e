"""A program below a job, whose words go on to the job's own log, and whose last ones can be told."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

STOP_SECONDS = 30.0


class Child:
    """Runs from when it is made until `end`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._last = ""
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """Of a child that has ended."""
        self._reader.join(timeout=5)  # what it started may hold on to the pipe
        return self._last

    def end(self) -> None:
        """By a signal to stop, and by force if that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            sys.stderr.write(line)
            self._last = line.strip() or self._last
