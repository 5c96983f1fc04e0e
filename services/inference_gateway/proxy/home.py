"""Where a pool of workers lives: its port, its lock, its socket, and what an earlier life left there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.inference_gateway.proxy.records import NEW
from services.inference_gateway.proxy.server import BACKLOG, bind
from services.inference_gateway.proxy.settings import SCRATCH, Paths

PORT_SECONDS = 3.0
HAND_OVER_SECONDS = 0.5  # between two tries; each worker that was left sends its socket within
HALF_SEGMENT_SECONDS = 3600.0
LONGEST_SOCKET_PATH = 100


async def listen(host: str, port: int, count: int, heir: Path) -> list[socket.socket]:
    """The first is bound without SO_REUSEPORT for a moment, so that a port of somebody else is noticed, not shared. Where
    workers that a killed control plane left serve it, their sockets are taken over: no connection in them is lost.

    Raises: OSError if the port is taken.
    """
    deadline = time.monotonic() + PORT_SECONDS
    sockets: list[socket.socket] = []
    with _inbox(heir) as inbox:
        while not sockets:
            try:
                bind(host, port, reuse_port=False).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(HAND_OVER_SECONDS)
            sockets = _received(inbox, port)
    sockets += [bind(host, port, reuse_port=True) for _ in range(count - len(sockets))]
    for sock in sockets[:count]:
        sock.listen(BACKLOG)
    for sock in sockets[count:]:
        sock.close()
    return sockets[:count]


def hand_over(sock: socket.socket, heir: Path) -> None:
    """Sends a listening socket to whoever waits for it. Raises: OSError where nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.setblocking(False)
        sending.connect(str(heir))
        socket.send_fds(sending, [b"socket"], [sock.fileno()])


def heir_of(control: Path) -> Path:
    """Where a control plane that starts waits for sockets: beside its own."""
    return control.with_name("heir.sock")


@contextmanager
def _inbox(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(path))
        inbox.setblocking(False)
        try:
            yield inbox
        finally:
            path.unlink(missing_ok=True)


def _received(inbox: socket.socket, port: int) -> list[socket.socket]:
    """The sockets of `port` that were sent, each once however often it was."""
    found: dict[int, socket.socket] = {}
    with suppress(BlockingIOError):
        while True:
            _, descriptors, _, _ = socket.recv_fds(inbox, 16, 1)
            for sock in (socket.socket(fileno=each) for each in descriptors):
                number = os.fstat(sock.fileno()).st_ino
                if number in found or sock.getsockname()[1] != port:
                    sock.close()
                else:
                    sock.setblocking(False)
                    found[number] = sock
    return list(found.values())


def hold(path: Path) -> int:
    """Locked until it is closed, or this process ends. Raises: OSError where another one has these workers."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OSError(f"{path} is in use: another control plane has this gateway's workers") from error
    return descriptor


def clean_up(paths: Paths) -> None:
    """What workers of an earlier life left behind: their counts, uploads, scratch, and segments that they did not finish."""
    for old in paths.metrics.glob("*.db"):
        old.unlink(missing_ok=True)
    for upload in paths.uploads.glob("*"):
        upload.unlink(missing_ok=True)
    for scratch in paths.folder.glob(SCRATCH + "*"):
        shutil.rmtree(scratch, ignore_errors=True)
    for half in paths.spool.glob(f"*{NEW}"):
        if time.time() - half.stat().st_mtime > HALF_SEGMENT_SECONDS:
            half.unlink(missing_ok=True)


def socket_path(wanted: Path) -> Path:
    """A Unix socket's path may have 107 bytes: where the home is deeper, the socket lies in a private folder apart, which
    `wanted` links to, so that a successor listens where the workers look."""
    if len(str(wanted).encode()) <= LONGEST_SOCKET_PATH:
        return wanted
    if not wanted.is_symlink() or not wanted.readlink().parent.is_dir():
        wanted.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted.unlink(missing_ok=True)
        wanted.symlink_to(Path(tempfile.mkdtemp(prefix="gyre-")) / wanted.name)
    return wanted.readlink()
