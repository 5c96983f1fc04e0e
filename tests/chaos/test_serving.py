"""A model that is served, and what may happen to it: traffic moves to the next version while sessions talk and
processes die, it is rolled back, the platform goes down and up. No session sees two versions, the way back is short,
and after `gyre up` the first call of each kind succeeds at the first try.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Thread

import openai
import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from gyre_kit.addresses import topic
from gyre_sdk import messages
from gyre_sdk.client import Gyre
from gyre_sdk.resources.serving import target

from tests.chaos import harness
from tests.chaos.harness import available, until
from tests.conftest import Running, start, stop
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
OUT = harness.OUT / "rollout.txt"
SESSIONS, TALKERS = 20, 2
STEPS = (30, 60, 100)
TIMES = 2
WORKER = "services.inference_gateway.proxy.worker"
AWAY = (500, 502, 503)  # with the gateway or an engine away or broken; a client tries again


@dataclass(frozen=True)
class Served:
    """A platform that serves version 1 of a tiny model as `tiny`, with version 2 ready to be served, and rows."""

    platform: Running
    base: str
    data: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = start()
    try:
        gyre, folder = running.client(), tmp_path_factory.mktemp("served")
        rows = folder / "rows.jsonl"
        rows.write_text("\n".join(HOTLINE.read_text("utf-8").splitlines()[:60]) + "\n", "utf-8")
        data = gyre.datasets.import_file(rows, "calls", "SFT", licence="CC0-1.0", origin="written for Gyre")
        base = tiny_base(gyre, folder, rows.read_text("utf-8").splitlines())
        second = gyre.models.import_version("tiny", gyre.datasets.upload(folder / "tiny.zip").uri)
        gyre.deployments.create("tiny", [target(variant_of(gyre, 1))])
        gyre.models.wait_version(second.name, timeout=300)
        variant_of(gyre, 2)
        gyre.deployments.wait_ready("tiny", timeout=300)
        yield Served(running, base, gyre.datasets.wait_version(data.name, timeout=120).name)
    finally:
        stop(running)


@pytest.fixture
def platform(served: Served) -> Running:
    return served.platform


def variant_of(gyre: Gyre, version: int) -> str:
    made = gyre.models.create_variant(f"tiny@{version}", "Q8_0")
    return gyre.models.wait_variant(made.name, timeout=300).name


def test_no_session_sees_two_versions_though_worker_gateway_and_registry_are_killed(platform: Running) -> None:
    gyre = platform.client()
    with talking(platform) as seen:
        until(lambda: len(seen) == SESSIONS, "every session has begun", 120)
        deployment = gyre.deployments.shift("tiny", [target(variant_of(gyre, 2))], steps=STEPS, step_seconds=8)
        rollout = deployment.rollout.name
        until(lambda: percent_of(gyre) >= STEPS[0], "the first step", 120)
        kill_worker(platform)
        talk(platform, "began-after-the-worker", seen)
        assert percent_of(gyre) < STEPS[-1], "in mid-shift"
        kill(platform, "inference_gateway", "model_registry")
        talk(platform, "began-between", seen)
        gyre.deployments.wait_rollout(rollout, timeout=240)
        for number in range(20):
            talk(platform, f"late-{number}", seen)
        answers = sum(map(len, seen.values()))
        until(lambda: sum(map(len, seen.values())) >= answers + 2 * SESSIONS, "all go on", 120)
    versions = {session: set(answers) for session, answers in seen.items()}
    assert {session: found for session, found in versions.items() if len(found) > 1} == {}
    assert {version for name, found in versions.items() if name.startswith("session") for version in found} == {"1"}
    assert {version for name, found in versions.items() if name.startswith("late") for version in found} == {"2"}


def test_a_roll_back_is_in_force_at_once_by_the_replica_that_stood_by(platform: Running) -> None:
    gyre = platform.client()
    before = {item.variant: (item.id, item.address) for item in gyre.deployments.get("tiny").targets}
    seen: dict[str, list[str]] = {}
    talk(platform, "will-move", seen)
    assert seen["will-move"] == ["2"]
    began = time.monotonic()
    deployment = gyre.deployments.roll_back("tiny", "the answers are worse")
    until(lambda: ask(platform, f"new-{time.monotonic()}") == "1", "the old version answers", 60)
    took = time.monotonic() - began
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(f"a new session is answered by the old version {took:.2f} s after the roll-back was asked for\n")
    print(OUT.read_text())
    (serving,) = [item for item in deployment.targets if item.weight_percent]
    assert (serving.id, serving.address) == before[variant_of(gyre, 1)]
    assert messages.enum_name(deployment.rollout, "state") == "SUCCEEDED"
    talk(platform, "will-move", seen)
    assert seen["will-move"] == ["2", "1"]


def test_a_version_that_fails_more_often_is_rolled_back_by_itself(platform: Running) -> None:
    gyre = platform.client()
    with engine(fails_every=0) as good, engine(fails_every=2) as bad:
        gyre.deployments.create("guarded", [target(upstream_url=good, upstream_model="m")])
        gyre.deployments.wait_ready("guarded", timeout=60)
        split = [target(upstream_url=bad, upstream_model="m")]
        rollout = gyre.deployments.shift("guarded", split, steps=(50, 100), step_seconds=600).rollout.name
        until(lambda: percent_of(gyre, "guarded") == 50, "the first step", 60)
        until(lambda: ask(platform, "", "guarded") and not is_running(gyre), "the roll-back", 120)
        ended = gyre.deployments.wait_rollout(rollout, timeout=5)
    assert (messages.enum_name(ended, "state"), ended.failure_reason) == ("ROLLED_BACK", "WORSE_ERRORS")
    print(ended.failure_message)
    serving = [item.upstream_url for item in gyre.deployments.get("guarded").targets if item.weight_percent]
    assert serving == [good]


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
    assert first_event_about(platform, run.name) == "gyre.training_scheduler.v1.RunQueued"
    platform.client().runs.cancel(run.name)


def test_a_replica_that_is_killed_or_taken_away_under_load_costs_no_request(platform: Running) -> None:
    gyre = platform.client()
    gyre.deployments.scale("tiny", 2, 2)
    until(lambda: ready_replicas(gyre) == 2, "both replicas answer", 60)
    with asking(platform) as answers:
        until(lambda: len(answers) > 20, "the load runs", 30)
        kill_engine(next(gyre.deployments.replicas("tiny")).address)
        asked = len(answers)
        until(lambda: len(answers) > asked + 50, "the other goes on", 30)
        until(lambda: ready_replicas(gyre) == 2, "it is back", 30)
        gyre.deployments.scale("tiny", 1, 1)
        until(lambda: len(list(gyre.deployments.replicas("tiny"))) == 1, "one has drained", 30)
    said = platform.command("deployments", "logs", "tiny", "-n", "3")
    assert (said.returncode, said.stdout.strip() != "") == (0, True), said.stderr
    print(f"{len(answers)} requests, of which {len([each for each in answers if each != '1'])} failed")
    assert set(answers) == {"1"}


def test_a_deployment_that_nobody_asks_sleeps_and_the_first_request_wakes_it(platform: Running) -> None:
    gyre = platform.client()
    gyre.deployments.scale("tiny", 0, 1, idle_seconds=1)
    until(lambda: not list(gyre.deployments.replicas("tiny")), "it sleeps", 30)
    deployment = gyre.deployments.get("tiny")
    assert messages.enum_name(deployment, "state") == "READY"
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda number: ask(platform, f"early-{number}"), range(4)))
    assert answers == ["1"] * 4
    (awake,) = [item for item in gyre.deployments.get("tiny").targets if item.weight_percent]
    print(f"awake after {awake.cold_start_seconds:.2f} s")
    assert awake.cold_start_seconds > 0
    gyre.deployments.scale("tiny", 1, 1)


@contextmanager
def talking(platform: Running) -> Iterator[dict[str, list[str]]]:
    """Sessions that ask again and again as long as the block runs; yields who was answered by which versions."""
    seen: dict[str, list[str]] = {}
    over = Event()

    def talks(first: int) -> None:
        while not over.is_set():
            for number in range(first, SESSIONS, TALKERS):
                if not over.is_set():
                    talk(platform, f"session-{number}", seen)

    with ThreadPoolExecutor(TALKERS) as threads:
        ends = [threads.submit(talks, first) for first in range(TALKERS)]
        try:
            yield seen
        finally:
            over.set()
        for end in ends:
            end.result(timeout=120)


def talk(platform: Running, session: str, seen: dict[str, list[str]]) -> None:
    """One question, asked until it is answered: the platform may be away meanwhile."""
    version = until(lambda: ask(platform, session), f"an answer for {session}", 120)
    seen.setdefault(session, []).append(version)


def ask(platform: Running, session: str, model: str = "tiny") -> str | None:
    """The version that answered; None if nothing did."""
    body = {"model": model, "messages": [{"role": "user", "content": "a lamp"}], "max_tokens": 2}
    headers = {
        "authorization": f"Bearer {platform.admin_key}",
        "openai-project": "default",
        "content-type": "application/json",
        "x-session-id": session,
    }
    request = urllib.request.Request(f"{platform.openai_url}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.read()
            return str(reply.headers.get("x-gyre-version", "none"))
    except urllib.error.HTTPError as error:
        assert error.code in AWAY, error.read()
    except (OSError, ConnectionError):
        pass
    return None


@contextmanager
def asking(platform: Running) -> Iterator[list[str | None]]:
    """New ones that ask once and do not try again; yields what each got, the version or None."""
    answers: list[str | None] = []
    over = Event()

    def asks() -> None:
        while not over.is_set():
            answers.append(ask(platform, ""))

    with ThreadPoolExecutor(3) as threads:
        ends = [threads.submit(asks) for _ in range(3)]
        try:
            yield answers
        finally:
            over.set()
        for end in ends:
            end.result(timeout=60)


def ready_replicas(gyre: Gyre) -> int:
    return sum(messages.enum_name(each, "state") == "READY" for each in gyre.deployments.replicas("tiny"))


def kill_engine(address: str) -> None:
    port = int(address.rpartition(":")[2])
    listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    (pid,) = {each.pid for each in listening if each.laddr.port == port}
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def percent_of(gyre: Gyre, deployment: str = "tiny") -> int:
    history = gyre.deployments.get(deployment).rollout.history
    return history[-1].percent if history else 0


def is_running(gyre: Gyre) -> bool:
    return messages.enum_name(gyre.deployments.get("guarded").rollout, "state") == "RUNNING"


@contextmanager
def engine(fails_every: int) -> Iterator[str]:
    """An OpenAI-compatible engine that somebody runs already, and that breaks at every so-manieth request (0: never)."""
    asked = count(1)

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if fails_every and next(asked) % fails_every == 0:
                self._send(500, {"error": {"message": "out of memory"}})
                return
            message = {"role": "assistant", "content": "fine"}
            usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send(200, {"id": "x", "model": "m", "choices": [choice], "usage": usage})

        def _send(self, status: int, body: dict[str, object]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def kill(platform: Running, *names: str) -> None:
    before = harness.pids(platform)
    for name in names:
        os.kill(before[name], signal.SIGKILL)

    def is_back() -> bool:
        now = harness.pids(platform)
        return all(now[name] not in (0, before[name]) for name in names) and harness.is_ready(platform)

    until(is_back, f"{names} are back", harness.BACK_WITHIN)
    until(lambda: available(lambda: platform.client().deployments.get("tiny")), "the gateway answers", 60)
    for name in names:
        print(f"{name} killed: pid {before[name]} → {harness.pids(platform)[name]}")


def kill_worker(platform: Running) -> None:
    """The gateway's control plane starts it anew."""
    before = worker_of(platform)
    assert before
    os.kill(before, signal.SIGKILL)
    until(lambda: worker_of(platform) not in (0, before), "the worker is back", 60)
    print(f"worker killed: pid {before} → {worker_of(platform)}")


def worker_of(platform: Running) -> int:
    """The pid of the process that answers, 0 while there is none."""
    for each in psutil.Process(harness.pids(platform)["inference_gateway"]).children():
        with suppress(psutil.Error):  # it is dead, and not buried yet
            if WORKER in each.cmdline():
                return int(each.pid)
    return 0


def first_event_about(platform: Running, subject: str, seconds: float = 30) -> str:
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
