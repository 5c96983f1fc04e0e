"""A home of its own for each test, and ports that nobody else uses."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.settings import RuntimeSettings


@pytest.fixture
def home() -> Iterator[Path]:
    """Short enough for a Unix socket below it; nothing that was started for it outlives the test."""
    folder = Path(tempfile.mkdtemp(prefix="gyre-t-")).resolve()
    yield folder
    processes.stop_all(processes.marked(folder), grace=1.0)
    shutil.rmtree(folder)


@pytest.fixture
def settings(home: Path) -> RuntimeSettings:
    settings = RuntimeSettings(
        home=home, port_offset=free_offset(), stop_grace_seconds=2, database_url="", kafka_bootstrap=""
    )
    settings.prepare_home()
    return settings


def free_offset() -> int:
    """An offset at which Gyre's first and last port are free just now."""
    for offset in range(20_000, 45_000, 300):
        if all(_free(port + offset) for port in (8000, 8080, 8092, 8101, 8208)):
            return offset
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
