"""A helper process that imports what a service must not: asked in lines of JSON on its stdin, it answers on its stdout.

Asked `{id, do, with}`, it answers `{id, answer}` or `{id, failed}`, the sentence of a launch that failed, or
`{id, unreachable}`. It keeps nothing that matters: one that dies is started again with the next call, and one whose
service dies reads the end of its stdin and goes.
"""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from typing import Any

from services.gpu_scheduler.launchers.base import LaunchFailed, Unreachable
from services.gpu_scheduler.launchers.breaker import Breaker

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a start that follows one that did not live
HEALTHY_SECONDS = 30.0


class Agent:
    """Its process, started when it is first asked. Used by many threads."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._breaker = Breaker()
        self._started = 0.0
        self._pause = 0.0

    @property
    def pid(self) -> int | None:
        """None before it was first asked."""
        return self._process.pid if self._process else None

    def ask(self, do: str, seconds: float, *, probe: bool = False, **given: Any) -> Any:
        """Raises: LaunchFailed; Unreachable, also when it is silent for so many seconds, and from then on at once until
        a probe is answered.
        """
        self._breaker.check(probe=probe)
        number, answer = next(self._ids), Future[Any]()
        line = json.dumps({"id": number, "do": do, "with": given}).encode() + b"\n"
        with self._lock:
            process = self._running()
            self._waiting[number] = answer
            try:
                assert process.stdin
                process.stdin.write(line)
                process.stdin.flush()
            except OSError as error:
                self._waiting.pop(number, None)
                raise Unreachable(f"the helper process {self._command[-1]} is gone: {error}") from error
        try:
            return answer.result(seconds)
        except LateError as error:
            self._breaker.was_silent()
            raise Unreachable(f"no answer to {do} within {seconds:.0f} s") from error
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        """Starts it anew where it is gone, but not over and over. Raises: Unreachable."""
        if self._process and self._process.poll() is None:
            return self._process
        lived = time.monotonic() - self._started
        if self._process and lived < self._pause:
            raise Unreachable(
                f"a helper process ended with exit code {self._process.returncode}; it is tried again soon"
            )
        doubled = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
        self._pause = FIRST_PAUSE if lived > HEALTHY_SECONDS else doubled
        self._started = time.monotonic()
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        for line in process.stdout:
            reply = json.loads(line)
            self._breaker.was_heard()
            answer = self._waiting.get(reply["id"])
            if answer is not None:
                _settle(answer, reply)
        process.wait()
        for answer in list(self._waiting.values()):
            with suppress(Exception):
                answer.set_exception(Unreachable(f"a helper process ended with exit code {process.returncode}"))


def _settle(answer: Future[Any], reply: dict[str, Any]) -> None:
    if "failed" in reply:
        answer.set_exception(LaunchFailed(reply["failed"]))
    elif "unreachable" in reply:
        answer.set_exception(Unreachable(reply["unreachable"]))
    else:
        answer.set_result(reply["answer"])
