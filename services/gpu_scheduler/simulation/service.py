"""What more nodes would have changed, or fewer, by replaying what was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from gyre_kit.db import Session
from gyre_kit.errors import Exhausted, Invalid, Precondition
from gyre_kit.names import last
from gyre_kit.periods import Period

from services.gpu_scheduler import store_nodes, store_queues
from services.gpu_scheduler.decisions.policies import POLICIES
from services.gpu_scheduler.models import Flavor
from services.gpu_scheduler.quota import FlavorNotFound
from services.gpu_scheduler.simulation import store
from services.gpu_scheduler.simulation.history import Added, History, history_of, quotas_of, with_more, without
from services.gpu_scheduler.simulation.model import Node

USUAL_DAYS, MOST_DAYS = 7, 31
MOST_ADDITIONS, MOST_REMOVALS, MOST_NODES, MOST_CARDS, MOST_CPU_MILLI = 20, 1000, 1000, 64, 10_000_000
MOST_JOBS = 100_000
# The replayed time ends at a whole number of these, so that a question asked again soon has its answer already.
STEP = timedelta(minutes=5)


class BadAddition(Invalid):
    """At most 20 additions, and one unless nodes are removed: node_count 1 to 1000, cards_per_node 0 to 64; without cards,
    cores have to be known."""


class BadRemoval(Invalid):
    """Name nodes that are there, each once and at most 1000, and leave one: `gyre nodes list` has them."""


class BadDays(Invalid):
    """History of 1 to 31 days can be replayed; 0 means 7."""


class UnknownPolicy(Invalid):
    """There is no such scheduling policy."""


class NoHistory(Precondition):
    """No workload ran in that time, or there is no node: there is nothing to replay."""


class WhatIfTooLarge(Exhausted):
    """There is more history than a replay takes, in workloads or in memory: ask for fewer days."""


@dataclass(frozen=True)
class Fleet:
    """So many nodes, and what they cost an hour, in microdollars."""

    nodes: int
    hour_microusd: int


@dataclass(frozen=True)
class Question:
    """A what-if that was checked, and what its answer is made of. `payload` is all that the replay gets to see."""

    period: Period
    policy: str
    history: History
    before: Fleet
    after: Fleet
    added_hour_microusd: int
    removed_hour_microusd: int
    payload: bytes


async def asked(
    session: Session, additions: Sequence[Added], removals: Sequence[str], days: int, policy: str
) -> Question:
    """Reads the history of all projects: the caller acts as the system. `removals`: names of nodes.

    Raises: BadAddition; BadRemoval; BadDays; UnknownPolicy; FlavorNotFound; NoHistory; WhatIfTooLarge.
    """
    period, policy = _period(session.clock.now(), days), _policy(policy)
    history = await _history(session, period)
    flavors = {last(flavor.name): flavor for flavor in await store_nodes.flavors(session)}
    known = [_known(added, flavors, history) for added in _checked(additions, removals)]
    if not history.jobs or not history.nodes:
        raise NoHistory(days=days or USUAL_DAYS, left_out=history.left_out)
    gone = _removed(removals, history, bool(known))
    left = without(history, gone)
    after = with_more(left, known)
    return Question(
        period=period,
        policy=policy,
        history=history,
        before=Fleet(len(history.nodes), _hour_microusd(history.nodes, flavors)),
        after=Fleet(len(after.nodes), _hour_microusd(after.nodes, flavors)),
        added_hour_microusd=_hour_microusd(after.nodes[len(left.nodes) :], flavors),
        removed_hour_microusd=_hour_microusd([node for node in history.nodes if node.id in gone], flavors),
        payload=_payload(history, after, policy),
    )


async def _history(session: Session, period: Period) -> History:
    workloads = await store.workloads_within(session, period, MOST_JOBS + 1)
    if len(workloads) > MOST_JOBS:
        raise WhatIfTooLarge(most=MOST_JOBS)
    return history_of(
        workloads,
        await store.attempts_within(session, period),
        await store_nodes.nodes(session),
        await store_queues.cluster_queues(session),
        period,
    )


def _period(now: datetime, days: int) -> Period:
    if not 0 <= days <= MOST_DAYS:
        raise BadDays(field="days", given=days)
    end = now - timedelta(seconds=now.timestamp() % STEP.total_seconds())
    return Period(end - timedelta(days=days or USUAL_DAYS), end)


def _policy(given: str) -> str:
    if given not in POLICIES:
        raise UnknownPolicy(field="policy", given=given[:80], known="|".join(POLICIES))
    return given


def _checked(additions: Sequence[Added], removals: Sequence[str]) -> Sequence[Added]:
    if len(additions) > MOST_ADDITIONS or not (additions or removals):
        raise BadAddition(field="additions", given=len(additions))
    for added in additions:
        sizes = 1 <= added.count <= MOST_NODES and 0 <= added.cards <= MOST_CARDS
        if not sizes or not 0 <= added.cpu_milli <= MOST_CPU_MILLI:
            given = f"{added.count} x {added.flavor[:80]} x {added.cards}, {added.cpu_milli} cpu_milli"
            raise BadAddition(field="additions", given=given)
    return additions


def _known(added: Added, flavors: dict[str, Flavor], history: History) -> Added:
    """With the cores of the flavor's largest node, unless it says how many."""
    if added.flavor not in flavors:
        known = "|".join(sorted(flavors))
        raise FlavorNotFound(field="additions.flavor", given=added.flavor[:80], known=known)
    alike = [node.cpu_milli for node in history.nodes if node.flavor == added.flavor]
    cpu_milli = added.cpu_milli or max(alike, default=0)
    if not added.cards and not cpu_milli:
        raise BadAddition(field="additions.cpu_milli_per_node", flavor=added.flavor)
    return Added(added.count, added.flavor, added.cards, cpu_milli)


def _removed(removals: Sequence[str], history: History, more: bool) -> frozenset[str]:
    """What a replay calls them. With no node at all, quotas alone would bound what runs: one is left, or added."""
    gone, there = frozenset(last(name) for name in removals), {node.id for node in history.nodes}
    if len(gone) != len(removals) or len(gone) > MOST_REMOVALS:
        twice = next((name for name, count in Counter(removals).items() if count > 1), "")
        raise BadRemoval(field="removals", given=twice[:120] or len(removals), most=MOST_REMOVALS)
    if unknown := sorted(gone - there):
        raise BadRemoval(field="removals", given=unknown[0][:80])
    if gone == there and not more:
        raise BadRemoval(field="removals", given=len(removals), there=len(there))
    return gone


def _hour_microusd(nodes: Iterable[Node], flavors: Mapping[str, Flavor]) -> int:
    return round(
        sum(
            node.cpu_milli / 1000 * flavors[node.flavor].cpu_hour_microusd
            + node.gpus * flavors[node.flavor].gpu_hour_microusd
            for node in nodes
            if node.flavor in flavors
        )
    )


def _payload(before: History, after: History, policy: str) -> bytes:
    """One line of JSON, the same for the same question: its digest is its name."""
    bounds = [
        {"nodes": [astuple(node) for node in each.nodes], "quotas": [astuple(quota) for quota in quotas_of(each)]}
        for each in (before, after)
    ]
    question = {"policy": policy, "jobs": [astuple(job) for job in before.jobs], "bounds": bounds}
    return json.dumps(question, sort_keys=True, separators=(",", ":")).encode()
