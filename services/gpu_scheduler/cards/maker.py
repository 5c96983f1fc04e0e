"""What Gyre wants of a maker of cards: a small interface that each has, and abilities that some have.

A maker reads; it decides nothing. What a finding means for the work on a card is in `services.gpu_scheduler.health`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a card: a code for programs, a sentence for people.

    `fatal` takes the card out until an operator puts it back; otherwise it is a warning. `key` names this very
    occurrence (XID_79 of a moment, the third uncorrectable error): what an operator has seen is not held against a card
    again, what comes after it is. Empty: the code is the key.
    """

    code: str
    message: str
    fatal: bool = True
    key: str = ""

    @property
    def occurrence(self) -> str:
        return self.key or self.code


@dataclass(frozen=True)
class CardReading:
    """A card at this moment. `uuid` stays with the card when it changes its place, which is `index`.

    `link_group`: cards with the same number above 0 are joined by fast links. `maker` is empty for one made up.
    """

    index: int
    uuid: str
    model: str
    memory_bytes: int
    memory_used_bytes: int = 0
    utilisation_percent: float = 0.0
    temperature_celsius: float = 0.0
    power_watts: float = 0.0
    simulated: bool = False
    maker: str = ""
    link_group: int = 0
    driver_version: str = ""
    mig_enabled: bool = False
    findings: tuple[Finding, ...] = ()


class Maker(Protocol):
    """Required of every maker. All methods block; `discover` is called every few seconds, in a thread.

    A card that cannot be read is left out of what `discover` returns: the scheduler counts it as missing. A machine
    without this maker's driver returns none, and that is no error.
    """

    name: str
    visible_devices_variable: str
    collective_library: str

    def discover(self) -> list[CardReading]:
        """Every card of this maker here, in the order of its indexes, with its health (`findings`)."""
        ...

    def owns(self, uuid: str) -> bool:
        """True for the uuid of a card that `discover` of this maker, on any machine, could have returned."""
        ...

    def visible(self, uuids: Sequence[str]) -> str:
        """The value of `visible_devices_variable` with which a process sees these cards and no other."""
        ...


@runtime_checkable
class Linked(Protocol):
    """Ability: knows which cards are joined by fast links."""

    def link_groups(self) -> Mapping[str, int]:
        """uuid → group, from 1; cards without a link are left out."""
        ...


@runtime_checkable
class Watchful(Protocol):
    """Ability: is told of faults as they happen. What it heard is in the findings of the next `discover`."""

    def watch(self, tell: Callable[[], None]) -> None:
        """Calls `tell`, from a thread of its own, soon after a fault; returns at once."""
        ...

    def unwatch(self) -> None:
        """Ends that thread; returns when it has ended."""
        ...
