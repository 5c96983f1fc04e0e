"""How alike two answers are. Pure.

What says the same is told apart by more than letters: case, white space and Unicode's forms (NFKC) do not count.
Similarity is the F1 of shared tokens, as SQuAD scores answers (Rajpurkar et al. 2016): a token is a word, a number, a
sign, or one character of a script without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

LONGEST = 16_384  # characters that are looked at: a comparison must not hold up those who wait for answers
TOKEN = re.compile(r"[぀-ヿ㐀-䶿一-鿿]|[^\W぀-ヿ㐀-䶿一-鿿]+|[^\w\s]")


def agree(one: str, other: str) -> bool:
    return normalised(one) == normalised(other)


def similarity(one: str, other: str) -> float:
    """0 (no token in common) to 1 (the same tokens as often)."""
    first, second = Counter(TOKEN.findall(normalised(one))), Counter(TOKEN.findall(normalised(other)))
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0


def normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text[:LONGEST]).casefold().split())
