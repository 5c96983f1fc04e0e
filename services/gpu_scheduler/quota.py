"""What a queue or cohort may use of each flavor: as it is asked for, as the tables keep it, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound

from services.gpu_scheduler import store_nodes
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.models import AWAY, Node


class FlavorNotFound(NotFound):
    """No node has, or ever had, resources of that flavor."""


class QuotaOverCapacity(Invalid):
    """A quota cannot be more than all nodes of its flavor have."""


class BadQuota(Invalid):
    """A quota names each flavor once, with amounts of 0 or more, and cards in whole numbers."""


@dataclass(frozen=True)
class Quota:
    """Of one flavor. `borrowing`, `lending` None: not limited."""

    nominal: Amount
    borrowing: Amount | None = None
    lending: Amount | None = None

    def to_json(self) -> dict[str, Any]:
        bounds = {"borrowing": self.borrowing, "lending": self.lending}
        return _fields(self.nominal) | {name: _fields(bound) for name, bound in bounds.items() if bound is not None}

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> Quota:
        bounds = [_amount(given[name]) if given.get(name) else None for name in ("borrowing", "lending")]
        return Quota(_amount(given), *bounds)


Quotas = Mapping[str, Quota]


def to_json(quotas: Quotas) -> dict[str, dict[str, Any]]:
    return {flavor: quota.to_json() for flavor, quota in quotas.items()}


def from_json(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Quota]:
    return {flavor: Quota.from_json(given) for flavor, given in stored.items()}


async def check(session: Session, quotas: Quotas) -> None:
    """Raises: FlavorNotFound; BadQuota; QuotaOverCapacity."""
    capacity = total_capacity(await store_nodes.nodes(session))
    for flavor, quota in quotas.items():
        if flavor not in capacity:
            raise FlavorNotFound(field="quotas.flavor", given=flavor, known="|".join(sorted(capacity)))
        amounts = [each for each in (quota.nominal, quota.borrowing, quota.lending) if each is not None]
        if any(min(each) < 0 or each.gpu_milli % CARD for each in amounts):
            raise BadQuota(field="quotas", flavor=flavor)
        if not quota.nominal.fits_in(capacity[flavor]):
            raise QuotaOverCapacity(field="quotas.nominal", flavor=flavor, capacity=str(capacity[flavor]))


def total_capacity(nodes: Sequence[Node]) -> dict[str, Amount]:
    """Flavor → what its nodes have together, those that are away aside."""
    total: dict[str, Amount] = {}
    for node in nodes:
        if node.state not in AWAY:
            amount = Amount(node.cpu_milli, node.memory_bytes, node.gpu * CARD)
            total[node.flavor] = total.get(node.flavor, Amount()).plus(amount)
    return total


def _fields(amount: Amount) -> dict[str, int]:
    return {"cpu_milli": amount.cpu_milli, "memory_bytes": amount.memory_bytes, "gpu": amount.cards}


def _amount(given: Mapping[str, Any]) -> Amount:
    return Amount(given["cpu_milli"], given["memory_bytes"], given["gpu"] * CARD)
