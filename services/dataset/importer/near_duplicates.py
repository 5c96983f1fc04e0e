"""Clusters of rows that say nearly the same, so that none of them can be split.

Two rows are near-duplicates where the Jaccard similarity of their 5-grams of characters reaches the threshold, for
what the user says or for the whole row. Characters, not words: Chinese has no blanks. Candidates come from MinHash
with banding (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, ch. 3); each is then measured exactly.

With 126 permutations in 42 bands of 3 a pair at 0.7 escapes with probability (1 − 0.7³)⁴² = 2e-8; below 0.65 the
bands have 2 rows, and a pair at 0.5 escapes with 1e-8.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

N: Final = 5
PERMUTATIONS: Final = 126
# Pairs this close below the threshold are kept together too: whoever measures may join the turns of a row in
# another way, with the roles' names say, and no such choice should find a pair above it.
MARGIN: Final = 0.03
# How far the estimate of 126 permutations may lie below the truth: a pair at 0.7 is taken for one below 0.48, and so
# missed, with probability 4e-8 (5.4 standard deviations).
ESTIMATE_ERROR: Final = 0.19
BATCH_CHARACTERS: Final = 200_000  # what one pass of a permutation takes: it stays in the processor's cache
PAIRS: Final = 20_000
CACHED: Final = 4096

Codes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


class Texts(Protocol):
    """Rows by number. Texts are fetched when needed, not held."""

    def __len__(self) -> int: ...

    def user(self, row: int) -> str:
        """What the user says."""
        ...

    def whole(self, row: int) -> str:
        """All that the row says."""
        ...


class NearDuplicates:
    """Finds the clusters of `texts`. Memory: 504 bytes a row while one view is compared, and a few thousand texts."""

    def __init__(self, texts: Texts, threshold: float) -> None:
        self._bound = threshold - MARGIN
        self._views = [lru_cache(CACHED)(_measured(view)) for view in (texts.user, texts.whole)]
        self._texts = (texts.user, texts.whole)
        self._parent: Indices = np.arange(len(texts))
        self._rows_a_band = 3 if threshold >= 0.65 else 2

    def clusters(self) -> Indices:
        """For each row the number of its cluster: that of one of its rows."""
        for view, text_of in enumerate(self._texts):
            distinct = self._join_equal(text_of)
            self._join_near(distinct, signatures(text_of, distinct), view)
        return self._roots()

    def near(self, left: int, right: int) -> bool:
        """Whether these two rows are near-duplicates, measured exactly."""
        return any(self._near_in(view, left, right) for view in range(len(self._views)))

    def _near_in(self, view: int, left: int, right: int) -> bool:
        """As written, or folded: either is enough, so that case and blanks hide no copy."""
        ours, theirs = self._views[view](left), self._views[view](right)
        return any(jaccard(a, b) >= self._bound for a, b in zip(ours, theirs, strict=True))

    def _join_equal(self, text_of: Callable[[int], str]) -> Indices:
        """Joins rows with the same folded text; returns the first row of each text."""
        first: dict[bytes, int] = {}
        for row in range(len(self._parent)):
            key = hashlib.blake2b(folded(text_of(row)).encode(), digest_size=16).digest()
            earlier = first.setdefault(key, row)
            if earlier != row:
                self._join(earlier, row)
        return np.fromiter(first.values(), np.int64, len(first))

    def _join_near(self, rows: Indices, signed: npt.NDArray[np.uint32], view: int) -> None:
        """Goes through the bands; pairs that are in one cluster already need no look."""
        seen: set[tuple[int, int]] = set()
        for band in range(0, PERMUTATIONS, self._rows_a_band):
            keys = _band_keys(signed[:, band : band + self._rows_a_band])
            for left, right in _same_bucket(keys, self._roots()[rows]):
                apart = self._roots_of(rows[left]) != self._roots_of(rows[right])
                for a, b in self._likely(signed, left[apart], right[apart]) if apart.any() else ():
                    pair = (int(rows[a]), int(rows[b]))
                    if pair not in seen and self._root(pair[0]) != self._root(pair[1]):
                        seen.add(pair)
                        if self._near_in(view, *pair):
                            self._join(*pair)

    def _likely(self, signed: npt.NDArray[np.uint32], left: Indices, right: Indices) -> Iterator[tuple[int, int]]:
        for start in range(0, len(left), PAIRS):
            a, b = left[start : start + PAIRS], right[start : start + PAIRS]
            estimate = (signed[a] == signed[b]).mean(axis=1)
            likely = estimate >= self._bound - ESTIMATE_ERROR
            yield from zip(a[likely].tolist(), b[likely].tolist(), strict=True)

    def _join(self, left: int, right: int) -> None:
        a, b = sorted((self._root(left), self._root(right)))
        self._parent[b] = a

    def _root(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    def _roots(self) -> Indices:
        """The cluster of every row; shortens all ways to it."""
        self._parent = self._roots_of(self._parent)
        return self._parent

    def _roots_of(self, rows: Indices) -> Indices:
        roots = self._parent[rows]
        while ((further := self._parent[roots]) != roots).any():
            roots = further
        return roots


def folded(text: str) -> str:
    """The text without what does not change its sense: width of characters, case, blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles(text: str) -> Codes:
    """The set of 5-grams of `text` as sorted 64-bit codes; a shorter text is one shingle of its own."""
    return np.unique(_windows(_characters(text)))


def jaccard(left: Codes, right: Codes) -> float:
    """|A ∩ B| / |A ∪ B| of two sets of shingles."""
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # two sorted runs: one merge
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def signatures(text_of: Callable[[int], str], rows: Indices) -> npt.NDArray[np.uint32]:
    """MinHash signatures of `rows`, in batches of texts laid end to end."""
    signed = np.empty((len(rows), PERMUTATIONS), np.uint32)
    start, batch, size = 0, [], 0
    for at, row in enumerate(rows.tolist()):
        batch.append(_characters(folded(text_of(row))))
        size += len(batch[-1])
        if size >= BATCH_CHARACTERS or at == len(rows) - 1:
            _sign(batch, signed[start : at + 1])
            start, batch, size = at + 1, [], 0
    return signed


def _sign(texts: list[Codes], out: npt.NDArray[np.uint32]) -> None:
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    inside = np.ones(ends[-1], bool)
    for back in range(1, N):  # the last four characters of a text begin no 5-gram of it
        inside[ends - back] = False
    hashes = (_windows(np.concatenate([*texts, np.zeros(N - 1, np.uint64)]))[inside] >> np.uint64(32)).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(lengths - (N - 1))[:-1]])
    for column, (factor, shift) in enumerate(zip(FACTORS, SHIFTS, strict=True)):
        out[:, column] = np.minimum.reduceat(hashes * factor + shift, starts)


def _characters(text: str) -> Codes:
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint64)
    return codes if len(codes) >= N else np.pad(codes, (0, N - len(codes)))


def _windows(codes: Codes) -> Codes:
    """A 64-bit code for each 5 characters in a row: a polynomial, then murmur's finaliser, which mixes all bits."""
    count = len(codes) - N + 1
    mixed = np.zeros(count, np.uint64)
    for offset in range(N):
        mixed = mixed * BASE + codes[offset : offset + count]
    mixed ^= mixed >> np.uint64(33)
    mixed *= MIX
    mixed ^= mixed >> np.uint64(33)
    return mixed


def _measured(text_of: Callable[[int], str]) -> Callable[[int], tuple[Codes, Codes]]:
    def measure(row: int) -> tuple[Codes, Codes]:
        text = text_of(row)
        return shingles(text), shingles(folded(text))

    return measure


def _band_keys(columns: npt.NDArray[np.uint32]) -> Codes:
    key = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        key = (key ^ column) * MIX
    return key


def _same_bucket(keys: Codes, clusters: Indices) -> Iterator[tuple[Indices, Indices]]:
    """All pairs with equal keys, where not all of that key are one cluster already.

    Neighbours in sorted order come first, then those two apart, and so on, so that look-alikes are joined early.
    """
    order = np.argsort(keys, kind="stable")
    ordered, of = keys[order], clusters[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(keys)])
    open_buckets = np.minimum.reduceat(of, starts) != np.maximum.reduceat(of, starts)
    first = np.flatnonzero(np.repeat(open_buckets, sizes))
    for distance in range(1, len(keys)):
        first = first[first + distance < len(keys)]
        first = first[ordered[first] == ordered[first + distance]]
        if not len(first):
            return
        yield order[first], order[first + distance]


def _constants() -> tuple[Any, Any]:
    """Odd factors and shifts of the permutations: fixed, so that the same rows give the same clusters everywhere."""
    numbers = np.random.Generator(np.random.PCG64(5)).integers(0, 2**32, (2, PERMUTATIONS), np.uint32)
    return numbers[0] | np.uint32(1), numbers[1]


BASE: Final = np.uint64(0x9E3779B97F4A7C15)
MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
FACTORS, SHIFTS = _constants()
