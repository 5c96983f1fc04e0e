"""Replicas that served before this process began. None is believed, and health waits, until each was asked anew.

Whatever stopped us may have stopped them: after `gyre down` and `up` their addresses answer nothing, or are another's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from gyre_kit.app import Context

from services.inference_gateway import store
from services.inference_gateway.models.deployments import ReplicaState

log = logging.getLogger(__name__)
ON_THE_WAY = frozenset({ReplicaState.PENDING, ReplicaState.STARTING})


class Returning:
    """Ids of replicas that are still to come back."""

    def __init__(self, replicas: Iterable[str] = ()) -> None:
        self._replicas = set(replicas)
        self._all_seen = asyncio.Event()
        self._check()

    def __contains__(self, replica: str) -> bool:
        return replica in self._replicas

    def saw(self, replica: str, state: ReplicaState) -> None:
        """It is back, or will not come: both end the wait for it."""
        if state not in ON_THE_WAY:
            self._replicas.discard(replica)
            self._check()

    async def wait(self, seconds: float) -> None:
        """Returns when all were seen, or the time is over; then the rest come when they come."""
        try:
            await asyncio.wait_for(self._all_seen.wait(), seconds)
        except TimeoutError:
            log.warning("some replicas are not back yet", extra={"replicas": ",".join(sorted(self._replicas))})

    def _check(self) -> None:
        if not self._replicas:
            self._all_seen.set()


async def returning(context: Context) -> Returning:
    """Reads which replicas served when this service was last there."""
    async with context.db.transaction() as session:
        return Returning(await store.replicas_that_served(session))
