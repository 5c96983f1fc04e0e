"""XID errors, as NVML tells them while they happen: one thread that waits, and a list of what it heard."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import pynvml

from services.gpu_scheduler.cards.maker import Finding

log = logging.getLogger(__name__)
WAIT_MS = 500  # so long does it take to end
LOOK_FOR_DRIVER_SECONDS = 30.0
KEPT = 8  # newest findings of a card

# Errors that a program can cause on a card that is well (NVIDIA's "Xid Errors" names the causes; its device plugin for
# Kubernetes leaves the same ones out): the work dies of them, the card is fine.
OF_PROGRAMS: Final = frozenset({13, 31, 43, 45, 68, 109})

# What NVIDIA's "Xid Errors" says of those that people meet; any other is named by its number.
SENTENCES: Final[Mapping[int, str]] = {
    48: "An error in its memory could not be corrected: reset it.",
    62: "A fault inside the card: reset it; if it comes again, have it exchanged.",
    63: "It has put a bad part of its memory aside and wants a reset.",
    64: "It could not put a bad part of its memory aside: reset it, and have it exchanged if that does not help.",
    74: "A fault of an NVLink: look at bridge, switch and the other card.",
    79: "It has fallen off the bus: power and seating may be at fault; the machine has to be started anew.",
    92: "Its memory has many correctable errors.",
    94: "An error in its memory was contained; the work on it is lost.",
    95: "An error in its memory was not contained: reset the card before anything else runs on it.",
    119: "Its system processor does not answer: reset it.",
    120: "Its system processor failed: reset it.",
}


class XidWatch:
    """`nvml` is the library. Thread-safe: the thread writes, `findings` may be read from any other."""

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self._lock = threading.Lock()
        self._findings: dict[str, list[Finding]] = defaultdict(list)
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tell: Callable[[], None]) -> None:
        """Returns at once. Where there is no driver, it looks again every half minute."""
        if self._thread is None:
            self._ends.clear()
            self._thread = threading.Thread(target=self._run, args=(tell,), name="xid-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def findings(self, uuid: str) -> list[Finding]:
        with self._lock:
            return list(self._findings.get(uuid, ()))

    def _run(self, tell: Callable[[], None]) -> None:
        while not self._ends.is_set():
            try:
                self._listen(tell)
            except pynvml.NVMLError as error:
                log.debug("no XID errors can be heard now", extra={"error": str(error)})
            self._ends.wait(LOOK_FOR_DRIVER_SECONDS)

    def _listen(self, tell: Callable[[], None]) -> None:
        """Until `stop`, or until NVML fails. Raises: pynvml.NVMLError."""
        nvml = self._nvml
        nvml.nvmlInit()
        try:
            events = nvml.nvmlEventSetCreate()
            try:
                uuids = self._register(events)
                while not self._ends.is_set():
                    with suppress(pynvml.NVMLError_Timeout):
                        self._hear(nvml.nvmlEventSetWait_v2(events, WAIT_MS), uuids, tell)
            finally:
                with suppress(pynvml.NVMLError):
                    nvml.nvmlEventSetFree(events)
        finally:
            with suppress(pynvml.NVMLError):
                nvml.nvmlShutdown()

    def _register(self, events: Any) -> dict[int | None, str]:
        """Address of a card → its uuid, asked while it answers. One that cannot tell (too old, gone) is left out."""
        uuids = {}
        for index in range(self._nvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                self._nvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
                uuid = self._nvml.nvmlDeviceGetUUID(handle)
                uuids[_address(handle)] = uuid.decode() if isinstance(uuid, bytes) else uuid
        return uuids

    def _hear(self, event: Any, uuids: Mapping[int | None, str], tell: Callable[[], None]) -> None:
        xid, uuid = int(event.eventData), uuids.get(_address(event.device))
        if event.eventType != pynvml.nvmlEventTypeXidCriticalError or xid in OF_PROGRAMS or uuid is None:
            return
        text = SENTENCES.get(xid, "The driver reported a critical error: see NVIDIA's list of XID errors.")
        finding = Finding(f"XID_{xid}", text, key=f"XID_{xid}:{time.time():.3f}")
        with self._lock:
            self._findings[uuid] = [*self._findings[uuid], finding][-KEPT:]
        log.error("a card reported an XID error", extra={"uuid": uuid, "xid": xid})
        tell()


def _address(handle: Any) -> int | None:
    """Of the card that NVML's opaque pointer stands for: the same one in an event and from its index."""
    return ctypes.cast(handle, ctypes.c_void_p).value
