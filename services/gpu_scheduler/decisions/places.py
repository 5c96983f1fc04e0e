"""Which cards of which nodes: one node before several, a link group before a mixture, the tightest fit first.

Tightest fit keeps whole nodes whole for gangs, which is what fragmentation is about (FGD, ATC '23).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.gpu_scheduler.decisions.amounts import CARD, NOTHING, Amount
from services.gpu_scheduler.decisions.work import Placement, Share


@dataclass(frozen=True, slots=True)
class Node:
    """`links`: for each card its link group; empty: all are of one. `sick`: indexes of cards that nobody gets.

    `gangs`: with whom it can be in a gang: those of the same word. None: with nobody.
    """

    name: str
    flavor: str
    capacity: Amount
    ready: bool = True
    links: tuple[int, ...] = ()
    sick: frozenset[int] = frozenset()
    gangs: str | None = ""


class Room:
    """What is left on one node."""

    __slots__ = ("cards", "cpu", "memory", "node", "whole")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cpu, self.memory = node.capacity.cpu_milli, node.capacity.memory_bytes
        self.cards = [0 if index in node.sick else CARD for index in range(node.capacity.cards)]
        self.whole = self.cards.count(CARD)

    @property
    def size(self) -> int:
        """Cards that it could give if nobody held any."""
        return len(self.cards) - len(self.node.sick)

    def has(self, amount: Amount) -> bool:
        """Cores and memory for it; cards are looked for elsewhere."""
        return amount[0] <= self.cpu and amount[1] <= self.memory

    def has_cards(self, share: Share) -> bool:
        """Cores, memory, and these very cards."""
        free = {index: milli for index, milli in enumerate(self.cards) if index not in self.node.sick}
        return self.has(share.amount) and all(free.get(index, -1) >= milli for index, milli in share.cards)

    def take(self, share: Share) -> None:
        self._change(share, -1)

    def give_back(self, share: Share) -> None:
        self._change(share, 1)

    def _change(self, share: Share, sign: int) -> None:
        self.cpu += sign * share.amount[0]
        self.memory += sign * share.amount[1]
        for index, milli in share.cards:
            if index < len(self.cards) and index not in self.node.sick:
                before = self.cards[index]
                self.cards[index] = before + sign * milli
                self.whole += (self.cards[index] == CARD) - (before == CARD)

    def pick(self, count: int) -> tuple[tuple[int, int], ...]:
        """`count` whole cards: all of one link group if one has so many, of the group that has the fewest."""
        free = [index for index, milli in enumerate(self.cards) if milli == CARD]
        links = self.node.links
        if links and count < len(free):
            groups: dict[int, list[int]] = {}
            for index in free:
                groups.setdefault(links[index], []).append(index)
            fitting = [group for group in groups.values() if len(group) >= count]
            if fitting:
                free = min(fitting, key=len)
            else:  # the fewest groups
                free = [index for group in sorted(groups.values(), key=len, reverse=True) for index in group]
        return tuple((index, CARD) for index in free[:count])

    def card_for(self, milli: int) -> int | None:
        """The card with the least room that a share fits in."""
        fitting = [(free, index) for index, free in enumerate(self.cards) if free >= milli]
        return min(fitting)[1] if fitting else None

    def fits(self, requests: Amount) -> bool:
        if 0 < requests.gpu_milli < CARD and self.card_for(requests.gpu_milli) is None:
            return False
        return self.whole >= requests.cards and self.has(requests)


class Pool:
    """The ready nodes of one flavor, in buckets by how many whole cards they have left."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.buckets: list[dict[str, Room]] = [{}]
        self.free_cards = 0
        self.size = 0  # cards of the largest node

    def add(self, room: Room) -> None:
        self.rooms[room.node.name] = room
        while len(self.buckets) <= len(room.cards):
            self.buckets.append({})
        self.buckets[room.whole][room.node.name] = room
        self.free_cards += room.whole
        self.size = max(self.size, room.size)

    def change(self, share: Share, *, take: bool) -> None:
        room = self.rooms[share.node]
        before = room.whole
        if take:
            room.take(share)
        else:
            room.give_back(share)
        if room.whole != before:
            del self.buckets[before][share.node]
            self.buckets[room.whole][share.node] = room
            self.free_cards += room.whole - before

    def place(self, requests: Amount) -> Placement | None:
        """Where `requests` go now, or None. All or nothing."""
        if requests.gpu_milli == 0:
            return self._without_cards(requests)
        if requests.gpu_milli < CARD:
            return self._share(requests)
        count = requests.cards
        if count > self.free_cards:
            return None
        if count <= self.size:
            room = self._tightest(count, requests)
            return (Share(room.node.name, requests, room.pick(count)),) if room else None
        words = dict.fromkeys(room.node.gangs for room in self.rooms.values() if room.node.gangs is not None)
        return next((found for word in words if (found := self._gang(requests, word)) is not None), None)

    def may_fit(self, requests: Amount, freed: Placement) -> bool:
        """Of what did not fit until `freed` came free: False where it still does not. No search of all nodes."""
        if requests.cards > self.size:
            return self.free_cards >= requests.cards and len(self.buckets[self.size]) >= requests.cards // self.size
        rooms = [self.rooms[share.node] for share in freed if share.node in self.rooms]
        return any(room.fits(requests) for room in rooms)

    def could_ever(self, requests: Amount) -> bool:
        """Would it fit if nobody held anything?"""
        if requests.cards > self.size:
            together: dict[str | None, int] = {}
            for room in self.rooms.values():
                together[room.node.gangs] = together.get(room.node.gangs, 0) + room.size
            return any(word is not None and cards >= requests.cards for word, cards in together.items())
        return any(
            room.size * CARD >= requests.gpu_milli
            and requests.cpu_milli <= room.node.capacity.cpu_milli
            and requests.memory_bytes <= room.node.capacity.memory_bytes
            for room in self.rooms.values()
        )

    def _tightest(self, count: int, requests: Amount) -> Room | None:
        for bucket in self.buckets[count:]:
            for room in bucket.values():
                if room.has(requests):
                    return room
        return None

    def _gang(self, requests: Amount, word: str) -> Placement | None:
        """Whole nodes, and a remainder on one more."""
        total, size = requests.cards, self.size
        full, rest = divmod(total, size)
        part = requests.part(size, total)
        rooms = [room for room in self.buckets[size].values() if room.node.gangs == word and room.has(part)][:full]
        if len(rooms) < full:
            return None
        placement = [Share(room.node.name, part, room.pick(size)) for room in rooms]
        if rest:
            small, taken = requests.part(rest, total), {room.node.name for room in rooms}
            last = self._remainder(rest, small, word, taken)
            if last is None:
                return None
            placement.append(Share(last.node.name, small, last.pick(rest)))
        return tuple(placement)

    def _remainder(self, count: int, part: Amount, word: str, taken: set[str]) -> Room | None:
        for bucket in self.buckets[count:]:
            for name, room in bucket.items():
                if name not in taken and room.node.gangs == word and room.has(part):
                    return room
        return None

    def _share(self, requests: Amount) -> Placement | None:
        """The fullest card that has room for it; a whole one only where there is no other."""
        best: tuple[int, int, Room, int] | None = None
        for bucket in self.buckets:
            for room in bucket.values():
                if room.has(requests) and (card := room.card_for(requests.gpu_milli)) is not None:
                    found = (room.cards[card], room.whole, room, card)
                    if best is None or found[:2] < best[:2]:
                        best = found
            if best is not None and best[0] < CARD:
                break
        if best is None:
            return None
        return (Share(best[2].node.name, requests, ((best[3], requests.gpu_milli),)),)

    def _without_cards(self, requests: Amount) -> Placement | None:
        """Nodes that have no card first, then the fullest: cards need cores too."""
        fitting = [room for room in self.rooms.values() if room.has(requests)]
        if not fitting:
            return None
        best = min(fitting, key=lambda room: (len(room.cards) > 0, room.cpu))
        return (Share(best.node.name, requests),)


class Places:
    """All nodes. What is held on a node that is not ready, or gone, stays held there."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.pools: dict[str, Pool] = {}
        self.flavor_of: dict[str, str] = {}
        for node in nodes:
            self.flavor_of[node.name] = node.flavor
            pool = self.pools.setdefault(node.flavor, Pool())
            if node.ready:
                pool.add(Room(node))

    def take(self, placement: Placement) -> None:
        for pool, share in self._shares(placement):
            pool.change(share, take=True)

    def give_back(self, placement: Placement) -> None:
        for pool, share in self._shares(placement):
            pool.change(share, take=False)

    def has(self, flavor: str, placement: Placement) -> bool:
        """All of it is free, on ready nodes of that flavor and on cards that are well."""
        rooms = self.pools[flavor].rooms if flavor in self.pools else {}
        return all(share.node in rooms and rooms[share.node].has_cards(share) for share in placement)

    def _shares(self, placement: Placement) -> Iterator[tuple[Pool, Share]]:
        for share in placement:
            pool = self.pools.get(self.flavor_of.get(share.node, ""))
            if pool is not None and share.node in pool.rooms:
                yield pool, share


ANYWHERE = (Share("", NOTHING),)  # where the quotas alone bound what runs


def larger(these: Iterable[Share], those: Iterable[Share]) -> Placement:
    """On each node, the larger of both sums: of cores, of memory, and of each card."""
    left, right = _by_node(these), _by_node(those)
    return tuple(_max(node, left.get(node, EMPTY), right.get(node, EMPTY)) for node in left | right)


EMPTY = Share("", NOTHING)


def _by_node(shares: Iterable[Share]) -> dict[str, Share]:
    total: dict[str, Share] = {}
    for share in shares:
        before = total.get(share.node, EMPTY)
        cards = dict(before.cards)
        for index, milli in share.cards:
            cards[index] = cards.get(index, 0) + milli
        total[share.node] = Share(share.node, before.amount.plus(share.amount), tuple(cards.items()))
    return total


def _max(node: str, one: Share, other: Share) -> Share:
    cards, more = dict(one.cards), dict(other.cards)
    most = {index: max(cards.get(index, 0), more.get(index, 0)) for index in cards | more}
    amount = Amount(max(one.amount[0], other.amount[0]), max(one.amount[1], other.amount[1]), sum(most.values()))
    return Share(node, amount, tuple(most.items()))
