"""Running experiments take in what came, each second; prompts that left are written down."""

from __future__ import annotations

from collections import Counter

from gyre_kit.app import Context

from services.inference_gateway import store
from services.inference_gateway.comparing import experiments
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.comparing import ExperimentState
from services.inference_gateway.policies import store as policy_store
from services.inference_gateway.proxy.processes import ProxyPool
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


async def note_counts(context: Context) -> bool:
    """Adds what the workers counted since the last time: prompts that left, and what guardrails and caches did."""
    pool: ProxyPool = context.state["pool"]
    for name, counted, add in (
        ("sent_out_noted", pool.sent_out, traffic_store.add_sent_out),
        ("found_noted", pool.found, policy_store.add_findings),
    ):
        now, noted = Counter(counted), context.state.get(name, Counter())
        if new := now - noted:
            async with context.db.transaction() as session:
                await add(session, new)
            context.state[name] = now
    return False
