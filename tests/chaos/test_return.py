"""`gyre down`, then `gyre up`, where a model was served: the first call of each kind succeeds at the first try."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from gyre_kit.addresses import topic
from gyre_sdk.resources.serving import target

from tests.conftest import Running, start, stop
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
TIMES = 2


@dataclass(frozen=True)
class Served:
    """A platform, and what it has: a tiny base behind the deployment `tiny`, and rows to train on."""

    platform: Running
    base: str
    data: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    platform = start()
    try:
        gyre = platform.client()
        folder = tmp_path_factory.mktemp("served")
        rows = folder / "rows.jsonl"
        rows.write_text("\n".join(HOTLINE.read_text("utf-8").splitlines()[:60]) + "\n", "utf-8")
        data = gyre.datasets.import_file(rows, "calls", "SFT", licence="CC0-1.0", origin="written for Gyre")
        base = tiny_base(gyre, folder, rows.read_text("utf-8").splitlines())
        variant = gyre.models.wait_variant(gyre.models.create_variant(base, "Q8_0").name, timeout=300)
        gyre.deployments.create("tiny", [target(variant.name)])
        gyre.deployments.wait_ready("tiny", timeout=300)
        yield Served(platform, base, gyre.datasets.wait_version(data.name, timeout=120).name)
    finally:
        stop(platform)


@pytest.mark.parametrize("time_", range(TIMES))
def test_the_first_chat_run_and_event_after_up_succeed_at_once(served: Served, time_: int) -> None:
    platform = served.platform
    down = platform.command("down")
    assert down.returncode == 0, down.stderr
    began = time.monotonic()
    up = platform.command("up", "--timeout", "120", timeout=150)
    assert up.returncode == 0, up.stderr
    print(f"up after {time.monotonic() - began:.1f} s: {up.stdout.splitlines()[0]}")
    client = openai.OpenAI(base_url=platform.openai_url, api_key=platform.admin_key, max_retries=0)
    client = client.with_options(default_headers={"OpenAI-Project": "default"})
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "a broken lamp"}], max_tokens=4
    )
    assert chat.usage is not None
    assert chat.usage.prompt_tokens > 0
    run = platform.client().runs.create(
        display_name=f"first {time_}", base=served.base, datasets=[served.data], hyperparameters={"max_steps": 1}
    )
    assert _first_event_about(platform, run.name) == "gyre.training_scheduler.v1.RunQueued"
    platform.client().runs.cancel(run.name)


def _first_event_about(platform: Running, subject: str, seconds: float = 30) -> str:
    """Its type, as a downstream team reads it."""
    consumer = Consumer({"bootstrap.servers": platform.kafka, "group.id": "downstream", "session.timeout.ms": 6000})
    consumer.assign([TopicPartition(topic("training_scheduler"), 0, OFFSET_BEGINNING)])
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and not message.error():
                headers = dict(message.headers() or [])
                if headers["ce_subject"] == subject.encode():
                    return str(headers["ce_type"].decode())
    finally:
        consumer.close()
    raise AssertionError(f"no event about {subject} within {seconds:g} s")
