"""Running experiments take in what came, each second; prompts that left are written down."""

from __future__ import annotations

from collections import Counter

from gyre_kit.app import Context

from services.inference_gateway import store
from services.inference_gateway.comparing import experiments
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.comparing import ExperimentState
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.sent_out import Place
from services.inference_gateway.rollouts.watching import Watch


async def follow_experiments(context: Context) -> bool:
    """What came since the last look is counted once: the watch remembers how far it was read."""
    watch: Watch = context.state["experiment_watch"]
    pool: ProxyPool = context.state["pool"]
    async with context.db.transaction() as session:
        running = await traffic_store.running_experiments(session)
    watch.forget_others(running)
    for name in running:
        async with context.db.transaction() as session:
            experiment = await experiments.locked(session, name)
            if experiment.state == ExperimentState.RUNNING:
                targets = await store.targets_of(session, experiment.deployment)
                await experiments.look(session, experiment, targets, watch.news(name, targets, pool.outcomes))
    return False


async def note_sent_out(context: Context) -> bool:
    """Adds what the workers counted since the last time."""
    pool: ProxyPool = context.state["pool"]
    now = Counter(pool.sent_out)
    noted: Counter[Place] = context.state.get("sent_out_noted", Counter())
    if new := now - noted:
        async with context.db.transaction() as session:
            await traffic_store.add_sent_out(session, new)
        context.state["sent_out_noted"] = now
    return False
