"""NVIDIA, by NVML (nvidia-ml-py): who the cards are, how they are linked, and what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import pynvml

from services.gpu_scheduler.cards.links import groups_of
from services.gpu_scheduler.cards.maker import CardReading, Finding
from services.gpu_scheduler.cards.xid import XidWatch

log = logging.getLogger(__name__)
Value = TypeVar("Value")
PREFIX = "GPU-"  # of every uuid that NVML gives a whole card
THERMAL = pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonSwThermalSlowdown
MIG_IS_ON = Finding(
    "MIG_ENABLED", "It is cut into MIG slices, which are not given out: work that gets it sees one alone.", fatal=False
)


class Nvidia:
    """A Maker that is also Linked and Watchful. `nvml` is the library, or what stands for it in a test."""

    name = "nvidia"
    visible_devices_variable = "CUDA_VISIBLE_DEVICES"
    collective_library = "NCCL"

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self._xids = XidWatch(nvml)
        self._seen: dict[int, CardReading] = {}  # the last reading of each place

    def discover(self) -> list[CardReading]:
        """None where there is no driver. A card that does not answer, and did not say why, is left out."""
        with self._library() as is_there:
            if not is_there:
                return []
            driver = _or("", lambda: _text(self._nvml.nvmlSystemGetDriverVersion()))
            found = [self._read(index, driver) for index in range(_or(0, self._nvml.nvmlDeviceGetCount))]
        return [card for card in found if card is not None]

    def owns(self, uuid: str) -> bool:
        return uuid.startswith(PREFIX)

    def visible(self, uuids: Sequence[str]) -> str:
        return ",".join(uuids)  # CUDA takes uuids, which do not move when another card goes

    def link_groups(self) -> Mapping[str, int]:
        """Cards that NVLink joins, directly or over a switch."""
        with self._library() as is_there:
            if not is_there:
                return {}
            count = _or(0, self._nvml.nvmlDeviceGetCount)
            ends = dict(filter(None, (_or(None, lambda i=index: self._ends(i)) for index in range(count))))
        return groups_of(ends)

    def watch(self, tell: Callable[[], None]) -> None:
        self._xids.start(tell)

    def unwatch(self) -> None:
        self._xids.stop()

    @contextmanager
    def _library(self) -> Iterator[bool]:
        """False where there is no driver. NVML counts how often it was opened, so each may open and close it."""
        try:
            self._nvml.nvmlInit()
        except pynvml.NVMLError:
            yield False
            return
        try:
            yield True
        finally:
            with suppress(pynvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _read(self, index: int, driver: str) -> CardReading | None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, memory = _text(nvml.nvmlDeviceGetUUID(handle)), nvml.nvmlDeviceGetMemoryInfo(handle)
            model = _text(nvml.nvmlDeviceGetName(handle))
        except pynvml.NVMLError as error:
            log.warning("a card does not answer", extra={"index": index, "error": str(error)})
            return self._fallen(index)
        mig = _or(False, lambda: nvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
        self._seen[index] = reading = CardReading(
            index=index,
            uuid=uuid,
            model=model,
            memory_bytes=int(memory.total),
            memory_used_bytes=int(memory.used),
            utilisation_percent=_or(0.0, lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            temperature_celsius=_or(
                0.0, lambda: float(nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
            ),
            power_watts=_or(0.0, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            driver_version=driver,
            mig_enabled=mig,
            findings=(*self._xids.findings(uuid), *self._health(handle), *((MIG_IS_ON,) if mig else ())),
        )
        return reading

    def _fallen(self, index: int) -> CardReading | None:
        """A card that fell silent with an XID error is read as it was, with that error: nobody has to miss it first."""
        last = self._seen.get(index)
        heard = self._xids.findings(last.uuid) if last else []
        return replace(last, findings=tuple(heard)) if last and heard else None

    def _health(self, handle: Any) -> Iterator[Finding]:
        """Sources: NVML API reference; NVIDIA GPU Memory Error Management (row remapping, page retirement)."""
        nvml = self._nvml
        kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        if uncorrected := _or(0, lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, *kinds))):
            text = f"Its memory had {uncorrected} errors that could not be corrected since the driver was loaded: reset it."
            yield Finding("ECC_UNCORRECTED", text, key=f"ECC_UNCORRECTED:{uncorrected}")
        _, _, pending, failed = _or((0, 0, 0, 0), lambda: nvml.nvmlDeviceGetRemappedRows(handle))
        if failed:
            yield Finding("ROW_REMAP_FAILED", "A bad row of its memory could not be replaced: have the card exchanged.")
        if pending or _or(0, lambda: nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)):
            text = "Bad memory will be replaced when the card is reset; do so when it is free."
            yield Finding("MEMORY_REPAIR_PENDING", text, fatal=False)
        if _or(0, lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)) & THERMAL:
            yield Finding("THERMAL_SLOWDOWN", "It is so hot that it slows down: look at its cooling.", fatal=False)

    def _ends(self, index: int) -> tuple[str, set[str]]:
        """uuid, and the bus ids at both ends of its active links: its own, those of cards, those of switches."""
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        ends = {_bus(nvml.nvmlDeviceGetPciInfo(handle))}
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
            if _or(0, lambda link=link: nvml.nvmlDeviceGetNvLinkState(handle, link)) == pynvml.NVML_FEATURE_ENABLED:
                remote = _or("", lambda link=link: _bus(nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link)))
                ends |= {remote} - {""}
        return _text(nvml.nvmlDeviceGetUUID(handle)), ends


def _or(default: Value, read: Callable[..., Value]) -> Value:
    """Some cards lack a sensor, a link, a counter (NVMLError_NotSupported); old drivers lack the function."""
    try:
        return read()
    except pynvml.NVMLError:
        return default


def _bus(info: Any) -> str:
    return _text(info.busId).lower()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
