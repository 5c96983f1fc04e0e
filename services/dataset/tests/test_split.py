from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dataset.importer.problems import FileRefused
from services.dataset.importer.split import TEST, TRAIN, Key, SplitSettings, assign


def keys(*slices: str) -> list[Key]:
    """Rows without near-duplicates, one slice for each."""
    return [Key(f"id{number:04}", name, number) for number, name in enumerate(slices)]


def held_out(rows: list[Key], sides: list[str]) -> Counter[str]:
    return Counter(row.slice for row, side in zip(rows, sides, strict=True) if side == TEST)


def test_the_test_share_is_exact_and_each_slice_has_its_part() -> None:
    rows = keys(*["roads"] * 100, *["waste"] * 50, *["parks"] * 7)
    taken = held_out(rows, assign(rows, SplitSettings(0.2, seed=1)))
    assert taken == {"roads": 20, "waste": 10, "parks": 1}


def test_the_same_seed_gives_the_same_split_in_any_order_and_another_seed_another() -> None:
    rows = keys(*["roads"] * 200)
    sides = dict(zip(rows, assign(rows, SplitSettings(seed=7)), strict=True))
    again = dict(zip(rows[::-1], assign(rows[::-1], SplitSettings(seed=7)), strict=True))
    other = dict(zip(rows, assign(rows, SplitSettings(seed=8)), strict=True))
    assert sides == again
    assert sides != other


def test_a_slice_with_a_holdout_reaches_it() -> None:
    rows = keys(*["old"] * 100, *["new"] * 80)
    taken = held_out(rows, assign(rows, SplitSettings(0.1, holdouts={"new": 60})))
    assert taken == {"new": 60, "old": 10}


def test_a_holdout_counts_the_held_out_rows_that_other_versions_bring_along() -> None:
    rows = [*keys(*["new"] * 20), *(Key(f"old{n}", "new", 100 + n, TEST) for n in range(15))]
    assert held_out(rows, assign(rows, SplitSettings(0, holdouts={"new": 20}))) == {"new": 20}


def test_a_holdout_that_cannot_be_reached_names_slice_and_numbers() -> None:
    with pytest.raises(FileRefused, match=r"Slice 'new': 60 more rows .* only 10 can be") as caught:
        assign(keys(*["new"] * 10), SplitSettings(holdouts={"new": 60}))
    assert caught.value.reason == "HOLDOUT_TOO_LARGE"


def test_without_a_test_fraction_everything_trains() -> None:
    assert set(assign(keys(*["a"] * 9), SplitSettings(0))) == {TRAIN}


def test_mixed_in_rows_keep_their_side_and_draw_their_cluster_along() -> None:
    rows = [Key("a", "", 1, TRAIN), Key("b", "", 1), Key("c", "", 2, TEST), Key("d", "", 3)]
    sides = assign(rows, SplitSettings(0.9))
    assert sides[:3] == [TRAIN, TRAIN, TEST]


def test_a_cluster_too_large_for_the_test_side_trains() -> None:
    rows = [Key(f"id{n}", "", 0) for n in range(50)] + [Key(f"x{n}", "", 1 + n) for n in range(50)]
    sides = assign(rows, SplitSettings(0.2))
    assert set(sides[:50]) == {TRAIN}
    assert sides.count(TEST) == 20


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.sampled_from(["", "", "", TRAIN, TEST])), max_size=80
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.floats(0, 0.99), st.integers(0, 5))
def test_no_cluster_is_ever_cut_and_no_given_side_changed(
    rows: list[tuple[str, int, str]], fraction: float, seed: int
) -> None:
    given_keys = [Key(f"id{n}", *row) for n, row in enumerate(rows)]
    sides = assign(given_keys, SplitSettings(fraction, seed))
    assert len(sides) == len(given_keys)
    assert all(key.side in ("", side) for key, side in zip(given_keys, sides, strict=True))
    for cluster in {key.cluster for key in given_keys}:
        free = {side for key, side in zip(given_keys, sides, strict=True) if key.cluster == cluster and not key.side}
        assert len(free) <= 1
