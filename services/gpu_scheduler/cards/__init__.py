"""Cards of several makers behind one interface: who they are, how they are, and how a process is shown its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from services.gpu_scheduler.cards.ascend import Ascend
from services.gpu_scheduler.cards.maker import CardReading, Finding, Linked, Maker, Watchful
from services.gpu_scheduler.cards.nvidia import Nvidia

__all__ = ["MAKERS", "CardReading", "Finding", "Maker", "read_cards", "unwatch", "visible_devices", "watch"]

# Asked in this order. A node has one flavor, so it has cards of one maker: the first that finds any.
MAKERS: Final[Sequence[Maker]] = (Nvidia(), Ascend())


def read_cards(makers: Sequence[Maker] = MAKERS) -> list[CardReading]:
    """Every card of this machine; none on a machine without a driver. Blocks for some milliseconds."""
    for maker in makers:
        if found := maker.discover():
            groups = maker.link_groups() if isinstance(maker, Linked) else {}
            return [replace(card, maker=maker.name, link_group=groups.get(card.uuid, 0)) for card in found]
    return []


def visible_devices(uuids: Sequence[str], makers: Sequence[Maker] = MAKERS) -> dict[str, str]:
    """The variables with which a process sees these cards alone. Cards of no maker (simulated ones) show it none.

    Every maker's variable is set, to nothing for those whose cards it did not get: work without cards must see none.
    """
    return {
        maker.visible_devices_variable: maker.visible([uuid for uuid in uuids if maker.owns(uuid)]) for maker in makers
    }


def watch(tell: Callable[[], None], makers: Sequence[Maker] = MAKERS) -> None:
    """Has those makers that can call `tell` when a fault happens, from a thread of theirs."""
    for maker in makers:
        if isinstance(maker, Watchful):
            maker.watch(tell)


def unwatch(makers: Sequence[Maker] = MAKERS) -> None:
    for maker in makers:
        if isinstance(maker, Watchful):
            maker.unwatch()
