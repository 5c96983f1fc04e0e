from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from services.dataset.importer.near_duplicates import NearDuplicates, jaccard, shingles
from services.dataset.tests.samples import hotline, similarity

THRESHOLD = 0.7


class Listed:
    """Texts in memory; what the user says is the whole row."""

    def __init__(self, texts: list[str], users: list[str] | None = None) -> None:
        self.texts, self.users = texts, users or texts

    def __len__(self) -> int:
        return len(self.texts)

    def user(self, row: int) -> str:
        return self.users[row]

    def whole(self, row: int) -> str:
        return self.texts[row]


def clusters(texts: list[str], users: list[str] | None = None) -> list[int]:
    return NearDuplicates(Listed(texts, users), THRESHOLD).clusters().tolist()


def varied(text: str, draw: random.Random, changes: int) -> str:
    letters = list(text)
    for _ in range(changes):
        letters[draw.randrange(len(letters))] = draw.choice("abcdefghijklmnop")
    return "".join(letters)


@pytest.mark.parametrize(
    "text", ["", "a", "abcd", "abcde", "The bin at 4 Mill Road was not emptied.", "中国最长的河是哪一条？"]
)
def test_the_measure_is_the_jaccard_similarity_of_five_grams_of_characters(text: str) -> None:
    for other in ("", "abcde", "The bin at 7 Mill Road was not emptied!", "中国最长的河是长江吗？", text + "!"):
        assert jaccard(shingles(text), shingles(other)) == pytest.approx(similarity(text, other)), other


def test_every_pair_above_the_threshold_shares_a_cluster() -> None:
    """Against all pairs, measured by sets of strings."""
    draw = random.Random(3)
    bases = [row["prompt"] for row in hotline(30)]
    texts = [varied(base, draw, changes) for base in bases for changes in (0, 1, 2, 3, 5, 8)]
    found = clusters(texts)
    alike = [(a, b) for a, b in combinations(range(len(texts)), 2) if similarity(texts[a], texts[b]) >= THRESHOLD]
    assert len(alike) > 50
    assert all(found[a] == found[b] for a, b in alike)


def test_rows_that_share_a_cluster_are_linked_by_pairs_that_are_close() -> None:
    draw = random.Random(4)
    texts = [varied(row["prompt"], draw, changes) for row in hotline(40) for changes in (0, 2, 6)]
    found = clusters(texts)
    for cluster in set(found):
        rows = [row for row, of in enumerate(found) if of == cluster]
        for row in rows:
            others = [similarity(texts[row].casefold(), texts[other].casefold()) for other in rows if other != row]
            assert not others or max(others) >= THRESHOLD - 0.03


def test_chinese_texts_that_differ_in_one_character_share_a_cluster() -> None:
    one = "细胞理论是生物科学的一个理论，它认为所有生命体都是由微小的基本单元细胞所构成。"
    other = one.replace("微小", "细小")
    assert similarity(one, other) >= THRESHOLD
    assert len(set(clusters([one, other, "日心说是指太阳是太阳系的中心，也就是说，行星围绕太阳旋转的理论。"]))) == 2


def test_case_width_and_blanks_hide_no_copy() -> None:
    assert len(set(clusters(["Where is MY bin? ABC 12", "where is  my\nbin? ＡＢＣ 12"]))) == 1


def test_what_the_user_says_counts_even_if_the_answers_differ() -> None:
    question = "When is the library open on Sundays?"
    whole = [f"{question}\nFrom ten to four, all year round.", f"{question}\n{'Never, it is closed for repairs. ' * 9}"]
    assert similarity(*whole) < 0.5
    assert len(set(clusters(whole, [question, question]))) == 1


def test_many_equal_texts_are_one_cluster() -> None:
    assert len(set(clusters(["the very same question"] * 3000 + ["another one altogether"]))) == 2


def test_clusters_do_not_depend_on_the_order_of_the_rows() -> None:
    draw = random.Random(5)
    texts = [varied(row["prompt"], draw, changes) for row in hotline(30) for changes in (0, 1, 4)]
    order = np.random.default_rng(1).permutation(len(texts)).tolist()
    straight, shuffled = clusters(texts), clusters([texts[row] for row in order])
    for a, b in combinations(range(len(texts)), 2):
        assert (straight[a] == straight[b]) == (shuffled[order.index(a)] == shuffled[order.index(b)])
