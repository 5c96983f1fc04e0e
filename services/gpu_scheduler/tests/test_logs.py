from __future__ import annotations

from pathlib import Path

import pytest

from services.gpu_scheduler.logs import CHUNK, AttemptNotFound, read_log


async def yes() -> bool:
    return True


async def read(path: Path, **how: int) -> tuple[int, bytes]:
    """The offset of the first piece, and all pieces joined."""
    options = {"offset": 0, "tail_lines": 0} | how
    pieces = [piece async for piece in read_log(path, follow=False, has_ended=yes, **options)]
    return (pieces[0][0] if pieces else 0), b"".join(data for _, data in pieces)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "stderr.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(20_000)))
    return path


async def test_a_log_comes_whole_in_pieces(log: Path) -> None:
    assert log.stat().st_size > 2 * CHUNK
    assert await read(log) == (0, log.read_bytes())


async def test_a_log_is_read_on_from_an_offset(log: Path) -> None:
    assert await read(log, offset=7) == (7, log.read_bytes()[7:])
    assert await read(log, offset=10**9) == (0, b"")


@pytest.mark.parametrize("lines", [1, 2, 500, 15_000, 30_000])
async def test_a_tail_has_so_many_lines(log: Path, lines: int) -> None:
    wanted = b"".join(log.read_bytes().splitlines(keepends=True)[-lines:])
    assert await read(log, tail_lines=lines) == (log.stat().st_size - len(wanted), wanted)


async def test_a_tail_of_an_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "stderr.log"
    path.write_bytes(b"one\ntwo")
    assert (await read(path, tail_lines=1))[1] == b"two"
    path.write_bytes(b"")
    assert (await read(path, tail_lines=1))[1] == b""


async def test_following_stays_until_the_attempt_has_ended_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stderr.log"
    path.write_bytes(b"first\n")
    looks = 0

    async def has_ended() -> bool:
        nonlocal looks
        looks += 1
        with path.open("ab") as file:
            file.write(b"look %d\n" % looks)
        return looks == 3

    pieces = [data async for _, data in read_log(path, offset=0, tail_lines=0, follow=True, has_ended=has_ended)]
    assert b"".join(pieces) == path.read_bytes() == b"first\nlook 1\nlook 2\nlook 3\n"


async def test_logs_that_are_not_there_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(AttemptNotFound):
        await read(tmp_path / "stderr.log")
