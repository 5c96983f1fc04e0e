"""Real processes, no database."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.gpu_scheduler.launchers import processes, shim
from services.gpu_scheduler.launchers.base import CREDENTIAL, Ended, Handle, LaunchFailed, Member, Order, Ref
from services.gpu_scheduler.launchers.environment import worker_environment
from services.gpu_scheduler.launchers.local import Local
from services.gpu_scheduler.launchers.processes import ProcessRef
from services.gpu_scheduler.launchers.remains import last_words, read_result, renew_credential
from services.gpu_scheduler.settings import Settings

MODULE = "services.gpu_scheduler.tests.sample_work"


@pytest.fixture
def launcher() -> Local:
    return Local()


@pytest.fixture
def order(tmp_path: Path, launcher: Local) -> Iterator[Callable[..., Order]]:
    made: list[Path] = []

    def make(**spec: Any) -> Order:
        folder = tmp_path / "01WORKLOAD" / str(len(made) + 1)
        made.append(folder)
        environment = worker_environment(dict(os.environ), Settings(home=tmp_path), cpu_milli=1500, traceparent="")
        return Order(ref_of(folder), MODULE, {"attempt": 1} | spec, "a-token", environment)

    yield make
    for folder in made:
        launcher.stop(ref_of(folder), ask=False, kill=True)


def ref_of(folder: Path) -> Ref:
    return Ref("01WORKLOAD", int(folder.name) if folder.name.isdigit() else 1, folder, (Member("nodes/this"),))


def leader_of(launcher: Local, order: Order) -> ProcessRef:
    return as_process(launcher.start(order))


def as_process(handle: Handle) -> ProcessRef:
    return ProcessRef(handle["pid"], handle["started"])


def until(look: Callable[[], Any]) -> Any:
    """The first truthy result; bounded, and without a pause of its own: each look takes its time."""
    bell = threading.Event()
    for _ in range(600):
        if result := look():
            return result
        bell.wait(0.05)
    raise AssertionError("it did not come true within 30 s")


def runs(order: Order) -> int:
    path = order.ref.folder / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def is_waiting(order: Order) -> bool:
    return (order.ref.folder / "waiting").exists()


def test_an_attempt_runs_in_its_folder_and_leaves_logs_and_its_exit_code(
    launcher: Local, order: Callable[..., Order]
) -> None:
    one = order(do="exit", code=3)
    launcher.start(one)
    ended: Ended = until(lambda: launcher.look(one.ref))
    assert ended.code == 3
    assert ended.cpu_seconds > 0
    assert ended.peak_memory_bytes > 1_000_000
    assert (one.ref.folder / "stdout.log").read_text() == "out: it begins\n"
    assert last_words(one.ref.folder) == "the last word"
    assert not (one.ref.folder / CREDENTIAL).exists()


@pytest.mark.parametrize("by_its_group", [True, False])
def test_the_exit_record_tells_a_stop_of_the_whole_group_from_a_signal_to_the_work_alone(
    launcher: Local, order: Callable[..., Order], by_its_group: bool
) -> None:
    one = order(do="wait")
    leader = leader_of(launcher, one)
    until(lambda: is_waiting(one))
    worker = int((one.ref.folder / "runs").read_text().split()[0])
    os.killpg(leader.pid, signal.SIGTERM) if by_its_group else os.kill(worker, signal.SIGTERM)
    ended: Ended = until(lambda: launcher.look(one.ref))
    assert (ended.code, ended.asked_to_stop) == (-signal.SIGTERM, by_its_group)


def test_the_runtime_finds_the_process_by_the_file_it_expects(launcher: Local, order: Callable[..., Order]) -> None:
    from deploy.local import workloads

    one = order(do="wait")
    leader = leader_of(launcher, one)
    assert [(ref.pid, ref.started) for ref in workloads.running(one.ref.folder.parent.parent)] == [
        (leader.pid, leader.started)
    ]
    assert os.getsid(leader.pid) == leader.pid


def test_only_the_owner_can_read_the_credential(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    launcher.start(one)
    path = one.ref.folder / CREDENTIAL
    renew_credential(one.ref.folder, "another-token")
    assert path.read_text() == "another-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_worker_sees_no_secret_of_the_service(
    launcher: Local, order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GYRE_DATABASE_URL", "postgresql://gpu_scheduler:hunter2@db/gyre")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    one = order(do="exit", code=0)
    launcher.start(one)
    until(lambda: launcher.look(one.ref))
    seen = json.loads((one.ref.folder / "environment.json").read_text())
    assert not [name for name, value in seen.items() if "hunter2" in value]
    assert seen["OMP_NUM_THREADS"] == "2"
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["GYRE_OBJECT_STORE"].startswith("file://")


def test_a_second_launch_finds_the_process_of_the_first(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    first = launcher.start(one)
    until(lambda: is_waiting(one))
    assert Local().start(one) == first
    assert runs(one) == 1


def test_of_many_launches_at_once_one_runs(order: Callable[..., Order]) -> None:
    one = order(do="wait")
    found: list[ProcessRef] = []
    threads = [threading.Thread(target=lambda: found.append(leader_of(Local(), one))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: is_waiting(one))
    assert len(found) == 4
    assert len(set(found)) == 1
    assert runs(one) == 1


def test_an_attempt_that_has_ended_is_not_launched_again(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="exit", code=0)
    leader = leader_of(launcher, one)
    until(lambda: launcher.look(one.ref))
    again = Local()
    assert leader_of(again, one) == leader
    assert again.look(one.ref) is not None
    assert runs(one) == 1


def test_a_kill_of_the_work_leaves_word_of_the_signal(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    launcher.start(one)
    until(lambda: is_waiting(one))
    os.kill(int((one.ref.folder / "runs").read_text()), signal.SIGKILL)
    assert until(lambda: launcher.look(one.ref)).code == -signal.SIGKILL


def test_a_kill_of_the_shim_ends_the_work_too_and_leaves_no_code(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    leader = leader_of(launcher, one)
    until(lambda: is_waiting(one))
    assert len(processes.members(leader)) == 2
    os.kill(leader.pid, signal.SIGKILL)
    assert until(lambda: launcher.look(one.ref)) == Ended()
    assert processes.members(leader, str(one.ref.folder)) == []


def test_a_stop_asks_first_and_then_nobody_is_left(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait", grandchild=True)
    leader = leader_of(launcher, one)
    until(lambda: is_waiting(one))
    assert len(processes.members(leader, str(one.ref.folder))) == 3
    assert launcher.stop(one.ref, ask=True, kill=False) is None
    ended = until(lambda: launcher.stop(one.ref, ask=False, kill=False))
    assert ended.code == -signal.SIGTERM
    assert processes.members(leader, str(one.ref.folder)) == []


def test_what_ignores_the_request_is_killed(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait", stubborn=True)
    leader = leader_of(launcher, one)
    until(lambda: is_waiting(one))
    assert launcher.stop(one.ref, ask=True, kill=False) is None
    assert launcher.stop(one.ref, ask=False, kill=False) is None
    assert until(lambda: launcher.stop(one.ref, ask=False, kill=True)) is not None
    assert processes.members(leader, str(one.ref.folder)) == []


def test_what_was_stopped_before_its_launch_never_starts(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    assert launcher.stop(one.ref, ask=True, kill=False) == Ended()
    with pytest.raises(LaunchFailed):
        launcher.start(one)
    assert runs(one) == 0


def test_a_recycled_pid_is_not_taken_for_the_work() -> None:
    me = psutil.Process()
    assert ProcessRef(me.pid, me.create_time()).alive()
    stranger = ProcessRef(me.pid, me.create_time() - 60)
    assert not stranger.alive()
    assert processes.members(stranger) == []


def test_a_folder_that_cannot_be_written_fails_the_launch(launcher: Local, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaunchFailed):
        launcher.start(Order(ref_of(tmp_path / "file" / "1"), MODULE, {}, "", {}))


def test_a_claim_file_that_lost_its_content_belongs_to_nobody(launcher: Local, order: Callable[..., Order]) -> None:
    one = order(do="wait")
    one.ref.folder.mkdir(parents=True)
    (one.ref.folder / shim.CLAIM).touch()
    with pytest.raises(LaunchFailed):
        launcher.start(one)
    assert runs(one) == 0


def test_a_result_is_a_json_object_or_nothing(tmp_path: Path) -> None:
    assert read_result(tmp_path) == ""
    for text in ("[1]", "{", "\x00"):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(ValueError):
            read_result(tmp_path)
    (tmp_path / "result.json").write_text('{"rows": 3}')
    assert read_result(tmp_path) == '{"rows": 3}'
