"""Long work: what a project no longer wants kept is forgotten."""

from __future__ import annotations

from datetime import timedelta

from gyre_kit.app import Context

from services.inference_gateway import store
from services.inference_gateway.traces import service as traces


async def forget_old(context: Context) -> bool:
    """One small batch for each project that has a retention, each in a transaction of its own: a death in between costs
    nothing, and nobody waits long for a row. True while there may be more.
    """
    async with context.db.transaction() as session:
        retentions = await store.retentions(session)
    more = False
    for project, days in retentions.items():
        async with context.db.transaction() as session:
            older_than = context.clock.now() - timedelta(days=days)
            more = await traces.delete_older(session, project, older_than) or more
    return more
