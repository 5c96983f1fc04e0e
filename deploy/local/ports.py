"""Are the ports free? Asked before anything starts, because eight services that die of it say less."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import psutil

from deploy.local import probes


class PortTaken(Exception):
    """Another program listens where one of ours must."""


async def ensure_free(ports: Mapping[str, int]) -> None:
    """Raises: PortTaken, with the names of all that are taken, by whom, and what to do."""
    taken = await taken_ports(ports)
    if taken:
        facts = "; ".join(f"{port} ({name}) by {_holder(port)}" for name, port in taken.items())
        raise PortTaken(f"Ports are taken: {facts}. Stop that program, or set GYRE_PORT_OFFSET (for instance 1000).")


async def taken_ports(ports: Mapping[str, int]) -> dict[str, int]:
    """Those of `ports` that somebody answers on."""
    answers = await asyncio.gather(*(probes.accepts("127.0.0.1", port) for port in ports.values()))
    return {name: port for (name, port), answer in zip(ports.items(), answers, strict=True) if answer}


def _holder(port: int) -> str:
    """The process that listens, as far as we may see it."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"
