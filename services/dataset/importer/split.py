"""Which side each row lies on: by clusters, by the seed, slice by slice. Pure: no file, no clock."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.dataset.importer.problems import FileRefused

TRAIN: Final = "TRAIN"
TEST: Final = "TEST"


@dataclass(frozen=True)
class SplitSettings:
    """`holdouts`: for a slice the least number of its rows that are held out."""

    test_fraction: float = 0.2
    seed: int = 0
    holdouts: Mapping[str, int] = field(default_factory=dict)
    near_duplicate_threshold: float = 0.7


@dataclass(frozen=True)
class Key:
    """What the split needs to know of a row. `side` is set where the row brings it along from another version."""

    id: str
    slice: str
    cluster: int
    side: str = ""


@dataclass
class _Group:
    """Rows that stay together, as their places in the input."""

    rows: list[int]
    slices: Counter[str]
    order: str
    held: bool = False

    @property
    def main_slice(self) -> str:
        return min(self.slices, key=lambda name: (-self.slices[name], name))


def assign(keys: Sequence[Key], settings: SplitSettings) -> list[str]:
    """TRAIN or TEST for each key, the same for the same keys in any order.

    1. Rows with a side keep it; a cluster that holds a mixed-in train row trains as a whole.
    2. Slices with a holdout reach it.
    3. Each slice gets its share of the test rows: clusters in the order of the seed, as far as they fit.
    Raises: FileRefused (HOLDOUT_TOO_LARGE).
    """
    groups = _free_groups(keys, settings.seed)
    given = Counter(key.slice for key in keys if key.side == TEST)
    taken: Counter[str] = Counter()
    for name, wanted in sorted(settings.holdouts.items()):
        _hold_out(name, wanted - given[name], groups, taken)
    _fill_quotas(groups, settings.test_fraction, taken)
    sides = [key.side or TRAIN for key in keys]
    for group in groups:
        for row in group.rows if group.held else ():
            sides[row] = TEST
    return sides


def _free_groups(keys: Sequence[Key], seed: int) -> list[_Group]:
    """Clusters whose side is open, in the order of the seed."""
    training = {key.cluster for key in keys if key.side == TRAIN}
    members: dict[int, list[int]] = {}
    for row, key in enumerate(keys):
        if not key.side and key.cluster not in training:
            members.setdefault(key.cluster, []).append(row)
    groups = []
    for rows in members.values():
        name = min(keys[row].id for row in rows)
        order = hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
        groups.append(_Group(rows, Counter(keys[row].slice for row in rows), order))
    return sorted(groups, key=lambda group: group.order)


def _hold_out(name: str, wanted: int, groups: list[_Group], taken: Counter[str]) -> None:
    """Takes clusters with rows of slice `name` that fit; then, if need be, the smallest that go beyond."""
    having = [group for group in groups if group.slices[name] and not group.held]
    for group in having:
        if taken[name] + group.slices[name] <= wanted:
            _take(group, taken)
    for group in sorted(having, key=lambda group: (group.slices[name], group.order)):
        if taken[name] < wanted and not group.held:
            _take(group, taken)
    if taken[name] < wanted:
        raise FileRefused(
            "HOLDOUT_TOO_LARGE",
            f"Slice {name!r}: {wanted} more rows should be held out, but only {taken[name]} can be; add rows of this "
            "slice or ask for fewer.",
        )


def _fill_quotas(groups: list[_Group], fraction: float, taken: Counter[str]) -> None:
    by_slice: dict[str, list[_Group]] = {}
    for group in groups:
        by_slice.setdefault(group.main_slice, []).append(group)
    free = Counter(slice for group in groups for slice in group.slices.elements())
    for name, quota in _quotas(free, fraction).items():
        for group in by_slice.get(name, []):
            if not group.held and taken[name] + len(group.rows) <= quota:
                _take(group, taken)


def _take(group: _Group, taken: Counter[str]) -> None:
    group.held = True
    taken.update(group.slices)


def _quotas(free: Counter[str], fraction: float) -> dict[str, int]:
    """How many rows of each slice to hold out: shares rounded down, what is left to the largest remainders."""
    shares = {name: fraction * count for name, count in sorted(free.items())}
    quotas = {name: int(share) for name, share in shares.items()}
    left = round(fraction * free.total()) - sum(quotas.values())
    for name in sorted(shares, key=lambda name: (quotas[name] - shares[name], name))[:left]:
        quotas[name] += 1
    return quotas
