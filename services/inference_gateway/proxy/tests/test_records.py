"""Kept completions: what a full queue, a full disk, a refusing receiver and a restart do to them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.inference_gateway.proxy.records import CompletionRecord, parse_line
from services.inference_gateway.proxy.records import Spool as Records
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.shipper import RecordsRefused, Shipper
from services.inference_gateway.proxy.tests.support import eventually


def record(number: int, answer: str = "fine") -> CompletionRecord:
    return CompletionRecord(
        id=f"chatcmpl-{number}", project="demo", deployment="projects/demo/deployments/d", target="t", model_version="",
        variant="", api_key="k", messages=[{"role": "user", "content": "hi"}], parameters={}, answer=answer,
        finish_reason="stop", prompt_tokens=1, completion_tokens=1, total_tokens=2, ttft_ms=0, duration_ms=1, time=1.0,
    )  # fmt: skip


class Receiver:
    """Stores what it gets, but for ids that it refuses, and but for when it is down."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.refused: set[str] = set()
        self.chokes_on = ""
        self.down = False

    async def __call__(self, batch: list[CompletionRecord]) -> None:
        if self.down:
            raise ConnectionError("the control plane is down")
        if self.chokes_on in {each.id for each in batch}:
            raise ValueError("chokes")
        if self.refused & {each.id for each in batch}:
            raise RecordsRefused("it does not fit")
        self.stored += [each.id for each in batch]


class Spool:
    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self.dead = folder / "spool", folder / "dead"
        self.folder.mkdir()
        self.dead.mkdir()
        self.settings = ProxySettings(**settings)
        self.outcomes: Counter[str] = Counter()
        self.queue = Records(self.folder, self.settings, lambda outcome: self.outcomes.update([outcome]))
        self.receiver = Receiver()
        self.registry = CollectorRegistry()
        self.shipper = Shipper(self.folder, self.dead, self.receiver, self.settings, self.registry)

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def shipped(self, outcome: str) -> float:
        return self.registry.get_sample_value("gyre_gateway_shipped_records_total", {"outcome": outcome}) or 0


async def test_what_is_put_arrives_in_order_and_leaves_nothing_behind(tmp_path):
    spool = Spool(tmp_path)
    tasks = [asyncio.create_task(spool.queue.run()), asyncio.create_task(spool.shipper.run())]
    for number in range(1200):
        spool.queue.put(record(number))
    await eventually(lambda: len(spool.receiver.stored) == 1200)
    assert spool.receiver.stored == [f"chatcmpl-{number}" for number in range(1200)]
    await eventually(lambda: not spool.segments())
    for task in tasks:
        task.cancel()


async def test_while_the_disk_refuses_the_newest_wait_within_bounds_and_are_written_when_it_is_back(tmp_path):
    spool = Spool(tmp_path, record_queue=3, record_queue_bytes=10_000)
    spool.folder.rmdir()
    for number in range(5):
        spool.queue.put(record(number))
    assert not await spool.queue.flush()
    assert spool.outcomes["dropped"] == 2 and len(spool.queue) == 3
    spool.folder.mkdir()
    assert await spool.queue.flush() and len(spool.queue) == 0
    await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-2", "chatcmpl-3", "chatcmpl-4"]


async def test_what_waits_is_bounded_in_bytes_too_and_a_giant_is_not_kept(tmp_path):
    spool = Spool(tmp_path, record_queue_bytes=3000, record_max_bytes=2000)
    spool.folder.rmdir()
    for number in range(20):
        spool.queue.put(record(number))
    spool.queue.put(record(20, "x" * 5000))
    assert spool.outcomes["too_large"] == 1 and spool.outcomes["dropped"] > 10


async def test_a_record_is_in_a_file_as_soon_as_it_is_put(tmp_path):
    spool = Spool(tmp_path)
    spool.queue.put(record(1))
    (path,) = spool.folder.iterdir()
    assert parse_line(path.read_bytes()).id == "chatcmpl-1" and path.suffix == ".open"
    assert await spool.shipper.ship() == 0  # it is being written still


async def test_a_segment_whose_disk_fills_up_keeps_whole_lines_only(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    spool.queue.put(record(1))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    spool.queue.put(record(2))
    monkeypatch.undo()
    assert len(spool.queue) == 1 and spool.outcomes["write_failed"] == 1
    assert await spool.queue.flush()
    await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-1", "chatcmpl-2"] and spool.shipped("unreadable") == 0


async def test_a_receiver_that_is_down_loses_nothing(tmp_path):
    spool = Spool(tmp_path)
    spool.queue.put(record(1))
    await spool.queue.flush()
    spool.receiver.down = True
    with pytest.raises(ConnectionError):
        await spool.shipper.ship()
    spool.receiver.down = False
    assert await spool.shipper.ship() == 1 and await spool.shipper.ship() == 0
    assert spool.receiver.stored == ["chatcmpl-1"]


async def test_one_bad_record_costs_its_neighbours_nothing(tmp_path):
    spool = Spool(tmp_path)
    for number in range(3):
        spool.queue.put(record(number))
    await spool.queue.flush()
    spool.receiver.refused = {"chatcmpl-1"}
    await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-0", "chatcmpl-2"]
    (kept,) = spool.dead.iterdir()
    assert parse_line(kept.read_bytes().strip()).id == "chatcmpl-1" and not spool.segments()
    assert (spool.shipped("stored"), spool.shipped("refused")) == (2, 1)


async def test_a_torn_line_and_half_a_segment_cost_no_other(tmp_path):
    spool = Spool(tmp_path)
    spool.queue.put(record(1))
    await spool.queue.flush()
    (segment,) = spool.segments()
    segment.write_bytes(b'{"id": "torn\n' + segment.read_bytes() + b'{"id": "no record"}\n')
    (spool.folder / "half.new").write_bytes(b"{")
    await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-1"] and spool.shipped("unreadable") == 2


async def test_a_full_spool_gives_up_its_oldest_segments(tmp_path):
    spool = Spool(tmp_path, spool_max_bytes=1024 * 1024)
    for number in range(4):
        spool.queue.put(record(number, "x" * 400_000))
        await spool.queue.flush()
    await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-2", "chatcmpl-3"] and spool.shipped("given_up") == 2


async def test_a_segment_that_the_receiver_chokes_on_does_not_hold_up_the_rest(tmp_path):
    spool = Spool(tmp_path)
    for number in range(4):
        spool.queue.put(record(number))
        await spool.queue.flush()
    spool.receiver.chokes_on = "chatcmpl-1"
    with pytest.raises(ValueError, match="chokes"):
        await spool.shipper.ship()
    assert spool.receiver.stored == ["chatcmpl-0", "chatcmpl-2", "chatcmpl-3"]
    spool.receiver.chokes_on = ""
    await spool.shipper.ship()
    assert spool.receiver.stored[-1] == "chatcmpl-1"


async def test_characters_that_no_database_takes_are_replaced_and_all_others_kept(tmp_path):
    kept = record(1, "half \ud83d, whole 😀, none \0, \\u0000, a line\u2028break\n")
    expected = "half \ufffd, whole 😀, none \ufffd, \\u0000, a line\u2028break\n"
    assert parse_line(kept.line()).answer == expected
    assert kept.line().isascii() and b"\n" not in kept.line()
