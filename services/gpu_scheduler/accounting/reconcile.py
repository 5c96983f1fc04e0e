"""What accounting does by itself: roll up, look at capacity, tell Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from gyre_kit.app import Context
from gyre_kit.db import Session
from gyre_kit.periods import Period

from services.gpu_scheduler import store_nodes, store_queues
from services.gpu_scheduler.accounting import capacity, service, store
from services.gpu_scheduler.accounting.metrics import ACCOUNTING, FlavorNow, Gauges
from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.models import AWAY, Flavor, Workload

RECENT = timedelta(minutes=2)  # longer than a transaction may take to become visible


async def roll_up(context: Context) -> bool:
    """Adds a batch of ended attempts to their days. True while there may be more."""
    async with context.db.transaction() as session:
        done = await service.roll_up(session)
    return done == service.ROLLED_UP_AT_ONCE


async def look_at_capacity(context: Context) -> None:
    """Keeps the history of capacity, and shows what queues and cards are like now."""
    gauges: Gauges = context.state[ACCOUNTING]
    async with context.db.transaction() as session:
        await capacity.look(session)
        flavors = await _flavors_now(session)
        fragmentation = await capacity.fragmentation(session)
        heads = await store.heads(session)
        now = session.clock.now()
        waits = await store.first_waits(session, now - RECENT)
        preempted = await store.preemptions(session, Period(now - RECENT, now))
    gauges.show_capacity(flavors, fragmentation)
    gauges.show_queues(heads, now)
    gauges.count(waits, preempted)


async def _flavors_now(session: Session) -> Iterable[FlavorNow]:
    """What is held is summed by the database; its price is the flavor's of now."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    cards = await store.card_counts(session)
    for node in await store_nodes.nodes(session):
        if node.state not in AWAY:
            sums[node.flavor]["cores"] += node.cpu_milli / 1000
            sums[node.flavor]["cards"] += cards.get(node.name, (0, 0, 0))[0]
    for (name, _), (cpu_milli, _, card_milli) in (await store_queues.held_by(session, Workload.flavor)).items():
        flavor = await session.get_one(Flavor, name)
        cards_held = card_milli / CARD
        cost = cpu_milli / 1000 * flavor.cpu_hour_microusd + cards_held * flavor.gpu_hour_microusd
        sums[name] |= {"cores_held": cpu_milli / 1000, "cards_held": cards_held, "usd_per_hour": cost / 1_000_000}
    return [FlavorNow(flavor, **values) for flavor, values in sums.items()]
