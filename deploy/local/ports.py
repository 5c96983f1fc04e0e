"""Are the ports free? Asked before anything starts, because eight services that die of it say less."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress

import psutil

from deploy.local import probes


class PortTaken(Exception):
    """Another program has a port where one of ours must listen."""


async def ensure_free(ports: Mapping[str, int]) -> None:
    """Raises: PortTaken, with the names of all that are taken, by whom, and what to do."""
    taken = await taken_ports(ports)
    if taken:
        facts = "; ".join(f"{port} ({name}) by {_holder(port)}" for name, port in taken.items())
        raise PortTaken(f"Ports are taken: {facts}. Stop that program, or set GYRE_PORT_OFFSET (for instance 1000).")


async def taken_ports(ports: Mapping[str, int]) -> dict[str, int]:
    """Those of `ports` that somebody answers on, or has for a connection of its own, so that nobody can listen there.

    The latter comes of ports in the range from which the kernel takes those of outgoing connections (32768 and up).
    """
    answers = await asyncio.gather(*(probes.accepts("127.0.0.1", port) for port in ports.values()))
    return {
        name: port for (name, port), answer in zip(ports.items(), answers, strict=True) if answer or not _is_free(port)
    }


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server of ours left behind is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _holder(port: int) -> str:
    """The process that listens there or talks from there, as far as we may see it."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"
