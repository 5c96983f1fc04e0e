"""Which cards are joined by fast links: those that have an end in common, and those that these are joined to."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def groups_of(ends: Mapping[str, Collection[str]]) -> dict[str, int]:
    """`ends`: card → all that its links touch, itself included. Returns card → group, from 1, in the order of the cards.

    Two cards on one switch have the switch in common. Cards that are joined to no other are left out.
    """
    groups: list[tuple[list[str], set[str]]] = []
    for card, touched in ends.items():
        joined = [group for group in groups if not group[1].isdisjoint(touched)]
        groups = [group for group in groups if group not in joined]
        members = [name for group in joined for name in group[0]] + [card]
        groups.append((members, set(touched).union(*(group[1] for group in joined))))
    order = list(ends)
    linked = sorted((members for members, _ in groups if len(members) > 1), key=lambda each: order.index(each[0]))
    return {card: number for number, members in enumerate(linked, 1) for card in members}
