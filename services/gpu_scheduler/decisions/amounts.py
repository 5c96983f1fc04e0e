"""How much of what."""

from __future__ import annotations

from typing import NamedTuple

CARD = 1000  # thousandths of a card


class Amount(NamedTuple):
    """Thousandths of a core, bytes, thousandths of a card. Under CARD it is a share of one card, else whole cards."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    gpu_milli: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def minus(self, other: Amount) -> Amount:
        return Amount(self[0] - other[0], self[1] - other[1], self[2] - other[2])

    def fits_in(self, room: Amount) -> bool:
        return self[0] <= room[0] and self[1] <= room[1] and self[2] <= room[2]

    @property
    def cards(self) -> int:
        """Whole cards; 0 for a share."""
        return self[2] // CARD

    def part(self, cards: int, of: int) -> Amount:
        """What `cards` of the `of` whole cards of this take along: cores and memory go with the cards, rounded up."""
        return Amount(-(-self[0] * cards // of), -(-self[1] * cards // of), cards * CARD)


NOTHING = Amount()
CPU, MEMORY, GPU = range(3)
NAMES = ("cpu", "memory", "gpu")
