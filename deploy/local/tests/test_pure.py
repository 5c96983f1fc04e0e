"""Decisions that need no process."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import database, logs, workloads
from deploy.local.backoff import Backoff
from deploy.local.processes import ProcessRef
from deploy.local.settings import RuntimeSettings
from deploy.local.state import ChildState, Phase, RuntimeState


def test_the_delay_doubles_up_to_its_limit() -> None:
    backoff = Backoff(first=1, limit=5, healthy=60)
    assert [backoff.after(0) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_healthy_minute_resets_the_delay() -> None:
    backoff = Backoff(first=1, limit=30, healthy=60)
    for _ in range(4):
        backoff.after(0)
    assert backoff.after(60) == 1
    assert backoff.after(59) == 2


def test_a_state_that_was_written_reads_back_the_same(tmp_path: Path) -> None:
    child = ChildState("dataset", Phase.READY, ProcessRef(12, 3.5), ready_at=4.0, restarts=2, last_exit="was killed")
    state = RuntimeState(ProcessRef(1, 2.0), "0.1.0", "/home", Phase.READY, children={"dataset": child})
    state.write(tmp_path / "state.json")
    assert RuntimeState.read(tmp_path / "state.json") == state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor": 1}'])
def test_a_damaged_state_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert RuntimeState.read(tmp_path / "state.json") is None


def test_a_log_that_is_too_long_is_moved_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "dataset.log"
    with logs.open_for_child(path) as log:
        for number in range(5):
            log.write(f"{number}\n".encode() * 100)
            log.flush()
            assert logs.rotate(path, max_bytes=100, keep=3)
        log.write(b"last\n")
    assert path.read_text() == "last\n"
    assert [path.with_name(f"dataset.log.{n}").read_text()[0] for n in (1, 2, 3)] == ["4", "3", "2"]
    assert not path.with_name("dataset.log.4").exists()


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dataset.log"
    path.write_text("short\n")
    assert not logs.rotate(path, max_bytes=100, keep=3)


def test_the_tail_of_a_log_spans_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "dataset.log"
    path.write_text("".join(f"line {n} {'x' * 1000}\n" for n in range(300)))
    assert [line.split()[1] for line in logs.tail(path, 150)] == [str(n) for n in range(150, 300)]
    assert logs.tail(path, 0) == []
    assert logs.tail(tmp_path / "none.log", 5) == []


def test_following_a_log_gives_whole_lines_and_survives_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "dataset.log"
    path.write_text("one\ntw")
    assert logs.follow(path, 0) == (["one"], 4)
    path.write_text("one\ntwo\n")
    assert logs.follow(path, 4) == (["two"], 8)
    path.write_text("new\n")
    assert logs.follow(path, 8) == (["new"], 4)


def test_an_administrators_login_never_reaches_a_service() -> None:
    template = database.service_template("postgresql://root:secret@db.internal:5433/gyre?sslmode=require")
    assert template == "postgresql://{component}:{password}@db.internal:5433/gyre?sslmode=require"


def test_a_home_too_deep_for_a_socket_gets_a_short_folder() -> None:
    deep = RuntimeSettings(home=Path("/tmp") / ("d" * 120))
    shallow = RuntimeSettings(home=Path("/tmp/g"))
    assert shallow.postgres_socket_folder == Path("/tmp/g").resolve() / "postgres" / "socket"
    assert len(str(deep.postgres_socket_folder)) < 80
    assert deep.postgres_socket_folder != RuntimeSettings(home=Path("/tmp") / ("e" * 120)).postgres_socket_folder


@pytest.mark.parametrize("content", ["", "x", "12", '{"pid": 1}', "999999999 1.0"])
def test_a_pid_file_that_names_no_process_is_no_running_work(tmp_path: Path, content: str) -> None:
    attempt = tmp_path / "workload" / "1"
    attempt.mkdir(parents=True)
    (attempt / "pid").write_text(content)
    assert workloads.running(tmp_path) == []
