"""Makers of cards. NVML is stood for by `Driver`; Ascend reads texts written after the documented layout: neither kind
of card is here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from services.gpu_scheduler.cards import CardReading, Finding, catalogue, read_cards, visible_devices
from services.gpu_scheduler.cards.ascend import Ascend, parse
from services.gpu_scheduler.cards.links import groups_of
from services.gpu_scheduler.cards.nvidia import Nvidia

GIB = 1024**3
MIB = 1024**2
H100 = "NVIDIA H100 80GB HBM3"


def unsupported(*_: Any) -> Any:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


class Driver:
    """Stands for NVML on a machine with some cards: what it does not know, it does not support."""

    def __init__(self, cards: int = 1, **answers: Any) -> None:
        self.cards = cards
        self.opened = 0
        self.lost: set[int] = set()
        self.links: dict[int, list[str]] = {}
        self.answers = answers
        self.events: queue.Queue[SimpleNamespace] = queue.Queue()
        self.listens = threading.Event()

    def __getattr__(self, name: str) -> Any:
        if name in self.answers:
            return lambda *_: self.answers[name]
        if name.startswith(("nvmlDevice", "nvmlSystem")):
            return unsupported
        raise AttributeError(name)

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        self.nvmlDeviceGetHandleByIndex(handle)
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, _: int) -> str:
        return H100

    def nvmlDeviceGetMemoryInfo(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(total=80, used=8)

    def nvmlDeviceGetUtilizationRates(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetTemperature(self, _: int, __: int) -> int:
        return 40

    def nvmlDeviceGetPciInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(busId=f"00000000:0{handle}:00.0".encode())

    def nvmlDeviceGetNvLinkState(self, handle: int, link: int) -> int:
        return int(link < len(self.links.get(handle, ())))

    def nvmlDeviceGetNvLinkRemotePciInfo(self, handle: int, link: int) -> SimpleNamespace:
        return SimpleNamespace(busId=self.links[handle][link])

    def nvmlEventSetCreate(self) -> str:
        return "set"

    def nvmlEventSetFree(self, _: str) -> None: ...

    def nvmlDeviceRegisterEvents(self, *_: Any) -> None: ...

    def nvmlEventSetWait_v2(self, _: str, milliseconds: int) -> SimpleNamespace:
        self.listens.set()
        try:
            return self.events.get(timeout=milliseconds / 1000)
        except queue.Empty:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT) from None

    def report(self, card: int, xid: int) -> None:
        self.events.put(SimpleNamespace(device=card, eventType=pynvml.nvmlEventTypeXidCriticalError, eventData=xid))


class NoDriver(Driver):
    def nvmlInit(self) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def findings(**answers: Any) -> list[tuple[str, bool]]:
    (card,) = Nvidia(Driver(**answers)).discover()
    return [(finding.code, finding.fatal) for finding in card.findings]


def test_cards_are_read_by_nvml_and_a_missing_sensor_reads_zero() -> None:
    driver = Driver(nvmlSystemGetDriverVersion="550.54.15")
    cards = read_cards([Nvidia(driver)])
    assert cards == [CardReading(0, "GPU-0", H100, 80, 8, 50.0, 40.0, 0.0, maker="nvidia", driver_version="550.54.15")]
    assert driver.opened == 0


def test_a_machine_without_a_driver_has_no_cards() -> None:
    assert read_cards([Nvidia(NoDriver()), Ascend(lambda: "")]) == []


def test_a_card_that_fell_off_the_bus_is_left_out_and_the_others_stay() -> None:
    driver = Driver(cards=3)
    driver.lost = {1}
    assert [card.uuid for card in Nvidia(driver).discover()] == ["GPU-0", "GPU-2"]


def test_a_card_that_is_well_has_no_findings() -> None:
    assert findings() == []
    assert findings(nvmlDeviceGetTotalEccErrors=0, nvmlDeviceGetRemappedRows=(1, 0, 0, 0)) == []


@pytest.mark.parametrize(
    ("call", "answer", "code", "fatal"),
    [
        ("nvmlDeviceGetTotalEccErrors", 2, "ECC_UNCORRECTED", True),
        ("nvmlDeviceGetRemappedRows", (0, 1, 0, 1), "ROW_REMAP_FAILED", True),
        ("nvmlDeviceGetRemappedRows", (0, 1, 1, 0), "MEMORY_REPAIR_PENDING", False),
        ("nvmlDeviceGetRetiredPagesPendingStatus", 1, "MEMORY_REPAIR_PENDING", False),
        ("nvmlDeviceGetCurrentClocksEventReasons", pynvml.nvmlClocksEventReasonHwThermalSlowdown, "THERMAL_SLOWDOWN", False),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_card_is_found(call: str, answer: Any, code: str, fatal: bool) -> None:
    assert findings(**{call: answer}) == [(code, fatal)]


def test_one_more_uncorrectable_error_is_another_occurrence() -> None:
    keys = []
    for count in (1, 2):
        (card,) = Nvidia(Driver(nvmlDeviceGetTotalEccErrors=count)).discover()
        keys.append(card.findings[0].occurrence)
    assert len(set(keys)) == 2


def test_mig_is_recognised() -> None:
    (card,) = Nvidia(Driver(nvmlDeviceGetMigMode=(pynvml.NVML_DEVICE_MIG_ENABLE, 1))).discover()
    assert card.mig_enabled
    assert [(finding.code, finding.fatal) for finding in card.findings] == [("MIG_ENABLED", False)]


def test_an_xid_error_is_heard_while_it_happens_and_those_of_programs_are_not() -> None:
    driver, told = Driver(cards=2), threading.Event()
    maker = Nvidia(driver)
    maker.watch(told.set)
    try:
        driver.report(1, 31)
        driver.report(1, 79)
        assert told.wait(5)
    finally:
        maker.unwatch()
    first, second = maker.discover()
    assert first.findings == ()
    assert [finding.code for finding in second.findings] == ["XID_79"]
    assert "fallen off the bus" in second.findings[0].message
    assert driver.opened == 0
    assert "xid-watch" not in [thread.name for thread in threading.enumerate()]


def test_a_card_that_fell_silent_with_an_xid_error_is_known_by_it_though_it_answers_nothing() -> None:
    driver, told = Driver(cards=2), threading.Event()
    maker = Nvidia(driver)
    maker.discover()
    maker.watch(told.set)
    try:
        assert driver.listens.wait(5)
        driver.lost = {1}
        driver.report(1, 79)
        assert told.wait(5)
    finally:
        maker.unwatch()
    assert [(card.uuid, len(card.findings)) for card in maker.discover()] == [("GPU-0", 0), ("GPU-1", 1)]


def test_a_watch_without_a_driver_ends_at_once_when_it_is_told_to() -> None:
    maker = Nvidia(NoDriver())
    maker.watch(lambda: None)
    maker.unwatch()
    assert "xid-watch" not in [thread.name for thread in threading.enumerate()]


def test_cards_that_nvlink_joins_are_one_group() -> None:
    driver = Driver(cards=5)
    driver.links = {
        0: ["00000000:01:00.0"],
        1: ["00000000:00:00.0"],
        2: ["00000000:F0:00.0", "00000000:F1:00.0"],  # switches
        3: ["00000000:F1:00.0"],
    }
    cards = read_cards([Nvidia(driver)])
    assert [card.link_group for card in cards] == [1, 1, 2, 2, 0]


def test_groups_that_a_later_card_joins_become_one() -> None:
    assert groups_of({"a": {"1"}, "b": {"2"}, "c": {"1", "2"}, "d": {"3"}}) == {"a": 1, "b": 1, "c": 1}


TWO_910B = """
+------------------------------------------------------------------------------------------------+
| npu-smi 23.0.6                   Version: 23.0.6                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.6        40                0    / 0             |
| 0                         | 0000:C1:00.0  | 12          0    / 0          3161 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Alarm         | 91.0        41                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3158 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
"""
TWO_CHIPS_OF_310P = """
| npu-smi 23.0.0                         Version: 23.0.0                                         |
| NPU     Name              | Health        | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device            | Bus-Id        | AICore(%)    Memory-Usage(MB)                        |
| 2       310P3             | OK            | NA           45                0     / 0             |
| 0       4                 | 0000:02:00.0  | 0            1382 / 21527                            |
| 2       310P3             | Warning       | NA           46                0     / 0             |
| 1       5                 | 0000:03:00.0  | 0            1382 / 21527                            |
"""


def test_ascend_cards_are_read_from_the_documented_table() -> None:
    first, second = read_cards([Ascend(lambda: TWO_910B)])
    assert first == CardReading(
        0, "NPU-0@0000:c1:00.0", "Ascend 910B3", 65536 * MIB, 3161 * MIB, 12.0, 40.0, 93.6,
        maker="ascend", driver_version="23.0.6",
    )  # fmt: skip
    assert [(finding.code, finding.fatal) for finding in second.findings] == [("NPU_ALARM", True)]


def test_each_chip_is_a_card_with_its_logic_id() -> None:
    first, second = parse(TWO_CHIPS_OF_310P)
    assert [(card.index, card.memory_bytes, card.power_watts) for card in (first, second)] == [
        (4, 21527 * MIB, 0.0),
        (5, 21527 * MIB, 0.0),
    ]
    assert [finding.fatal for finding in second.findings] == [False]


@pytest.mark.parametrize("text", ["", "dcmi module initialize failed. ret is -8005", "| 0 910B3 | OK |\n| 0 | x | y |"])
def test_a_text_that_is_no_table_has_no_cards(text: str) -> None:
    assert parse(text) == []


@pytest.mark.parametrize(
    ("uuids", "cuda", "ascend"),
    [
        (["GPU-b", "GPU-a"], "GPU-b,GPU-a", ""),
        (["NPU-10@0000:01:00.0", "NPU-2@0000:02:00.0"], "", "2,10"),
        (["SIMULATED-0"], "", ""),
        ([], "", ""),
    ],
)
def test_work_sees_its_own_cards_and_no_others(uuids: Sequence[str], cuda: str, ascend: str) -> None:
    assert visible_devices(uuids) == {"CUDA_VISIBLE_DEVICES": cuda, "ASCEND_RT_VISIBLE_DEVICES": ascend}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-sxm"),
        ("NVIDIA H100 PCIe", "nvidia-h100-pcie"),
        ("NVIDIA H100 NVL", "nvidia-h100-nvl"),
        ("NVIDIA H200", "nvidia-h200-sxm"),
        ("NVIDIA B200", "nvidia-b200"),
        ("NVIDIA A100-SXM4-40GB", "nvidia-a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb-pcie"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-80gb-sxm"),
        ("NVIDIA L40S", "nvidia-l40s"),
        ("NVIDIA L4", "nvidia-l4"),
        ("NVIDIA A10", "nvidia-a10"),
        ("Tesla T4", "nvidia-t4"),
        ("Tesla V100-SXM2-32GB", "nvidia-v100-sxm2-32gb"),
        ("Tesla V100-PCIE-16GB", "nvidia-v100-pcie"),
        ("Tesla P100-PCIE-16GB", "nvidia-p100-pcie"),
        ("Tesla K80", "nvidia-k80"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
        ("NVIDIA GeForce RTX 3090", "nvidia-rtx-3090"),
        ("Ascend 910B3", "ascend-910b"),
        ("Ascend 310P3", "ascend-310p"),
        ("AMD Instinct MI300X", "amd-mi300x"),
    ],
)
def test_the_table_knows_a_card_by_what_its_driver_calls_it(name: str, slug: str) -> None:
    found = catalogue.find(name)
    assert found is not None
    assert found.slug == slug


@pytest.mark.parametrize(
    "name", ["NVIDIA A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA L40", "Simulated card", ""]
)
def test_a_card_that_is_not_in_the_table_is_not_taken_for_another(name: str) -> None:
    assert catalogue.find(name) is None


def test_every_row_names_its_sources_and_no_slug_twice() -> None:
    slugs = [model.slug for model in catalogue.MODELS]
    assert len(set(slugs)) == len(slugs)
    assert all(model.source for model in catalogue.MODELS)
    assert all((model.hour_usd is None) == (not model.price_source) for model in catalogue.MODELS)


def test_a_finding_without_a_key_is_known_by_its_code() -> None:
    assert Finding("X", "y").occurrence == "X"
