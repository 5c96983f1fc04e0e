"""What an engine says is wrong, out of all that it prints: the sentence that a person wants to read when it ends.

vLLM prints a traceback for each of its processes; those of the outer ones only point at the cause ("See root cause
above"), and some messages go on in the next line.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import IO

MOST = 300  # characters
LOGGED = re.compile(r"^\([^)]* pid=\d+\) \w+ \d\d-\d\d [\d:]+ \[[^\]]*\] ?")  # before each line of vLLM's own log
ERROR = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception): .*)$")
UNFINISHED = re.compile(r"(?::|\d+ validation errors? for .*)$")
POINTS_ELSEWHERE = re.compile(r"See (?:root cause|stack trace)")


class Complaint:
    """Passes on what a child prints, line by line, and keeps the last error that it names."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        """`child` has pipes for both streams."""
        self.words = ""
        assert child.stdout is not None and child.stderr is not None
        streams = ((child.stdout, sys.stdout.buffer), (child.stderr, sys.stderr.buffer))
        self._readers = [threading.Thread(target=self._pass_on, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()

    def sentence(self) -> str:
        """Of a child that has ended; empty where it named no error."""
        for reader in self._readers:
            reader.join(timeout=5)  # a grandchild may hold on to the pipe
        return self.words[:MOST]

    def _pass_on(self, source: IO[bytes], target: IO[bytes]) -> None:
        goes_on = False
        for line in source:
            target.write(line)
            target.flush()
            text = LOGGED.sub("", line.decode(errors="replace")).strip()
            if goes_on:
                self.words = f"{self.words} {text}"
                goes_on = False
            elif (found := ERROR.match(text)) and not POINTS_ELSEWHERE.search(text):
                self.words = found[1]
                goes_on = bool(UNFINISHED.search(self.words))
