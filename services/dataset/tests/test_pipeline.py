from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

from services.dataset.importer.pipeline import Job, Mixed
from services.dataset.importer.split import SplitSettings
from services.dataset.tests.conftest import Imported
from services.dataset.tests.samples import hotline, jsonl, most_alike, pair

Import = Callable[..., Imported]


def with_variants(rows: list[dict[str, Any]], seed: int = 1) -> list[dict[str, Any]]:
    """Each row, and copies of some with a word changed, in any order."""
    draw = random.Random(seed)
    copies = [row | {"prompt": row["prompt"].replace("ticket", "number")} for row in draw.sample(rows, len(rows) // 2)]
    mixed = [*rows, *copies]
    draw.shuffle(mixed)
    return mixed


def test_no_held_out_row_is_similar_to_a_training_row(imported: Import) -> None:
    result = imported(jsonl(with_variants(hotline(200))), split=SplitSettings(seed=3))
    train, test = result.rows("train"), result.rows("test")
    assert len(train) + len(test) == 300
    assert len(test) == 60
    assert result.outcome.near_duplicate_count > 150
    assert most_alike(test, train) <= 0.7


def test_no_held_out_pair_is_similar_to_a_training_pair(imported: Import) -> None:
    rows = [pair(row["prompt"], row["completion"], "I do not know.") for row in with_variants(hotline(100))]
    result = imported(jsonl(rows), dataset_type="PREFERENCE")
    assert len(result.rows("test")) == 30
    assert most_alike(result.rows("test"), result.rows("train")) <= 0.7


def test_the_files_agree_with_one_another_and_with_the_counts(imported: Import) -> None:
    result = imported(jsonl(hotline(50)))
    rows, train, test = result.rows(), result.rows("train"), result.rows("test")
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in train + test)
    assert {row["split"] for row in train} == {"TRAIN"}
    assert (result.outcome.train_count, result.outcome.test_count) == (len(train), len(test)) == (40, 10)
    assert [row["source_line"] for row in rows] == list(range(1, 51))
    profile = json.loads((result.out / "profile.json").read_text())
    assert profile["rows"] == 50
    assert sum(one["train_count"] + one["test_count"] for one in profile["slices"]) == 50
    assert sum(one["rows"] for one in profile["histogram"]) == 50
    assert profile["languages"] == {"latin": 50}


def test_the_columns_are_those_that_trainers_read(imported: Import) -> None:
    result = imported(jsonl([pair("Is it open?")]), dataset_type="PREFERENCE")
    schema = pq.read_schema(result.out / "train.parquet")
    assert schema.names == ["id", "prompt", "chosen", "rejected", "slice", "split", "source_line", "meta"]
    assert str(schema.field("chosen").type) == "list<element: struct<role: string, content: string>>"


def test_the_same_rows_settings_and_seed_give_the_same_bytes(imported: Import) -> None:
    content = jsonl(with_variants(hotline(80)))
    one, again = (imported(content, split=SplitSettings(seed=5)) for _ in range(2))
    other = imported(content, split=SplitSettings(seed=6))
    assert one.outcome.digest == again.outcome.digest != other.outcome.digest
    for name in ("rows.parquet", "train.parquet", "test.parquet", "profile.json"):
        assert (one.out / name).read_bytes() == (again.out / name).read_bytes()
    assert {row["id"] for row in one.rows("test")} != {row["id"] for row in other.rows("test")}


def test_another_answer_or_another_slice_gives_another_digest(imported: Import) -> None:
    rows = hotline(20)
    digests = {
        imported(jsonl([change | {} for change in [*rows[:-1], rows[-1] | given]])).outcome.digest
        for given in ({}, {"completion": "Something else."}, {"slice": "elsewhere"}, {"note": "x"})
    }
    assert len(digests) == 4


def test_equal_rows_are_refused_but_the_first(imported: Import) -> None:
    rows = hotline(3)
    result = imported(jsonl([*rows, rows[1], rows[0] | {"slice": "other"}]))
    assert result.reasons == [(4, "", "EXACT_DUPLICATE"), (5, "", "EXACT_DUPLICATE")]
    assert (result.outcome.row_count, result.outcome.duplicate_count) == (3, 2)


def test_an_evaluation_set_may_be_held_out_as_a_whole(imported: Import) -> None:
    result = imported(jsonl(hotline(10)), dataset_type="EVALUATION", split=SplitSettings(1.0))
    assert (result.outcome.train_count, result.outcome.test_count) == (0, 10)


def test_rows_that_all_say_the_same_train_and_a_note_says_why(imported: Import) -> None:
    rows = [{"prompt": "Please tell me a joke about the sea", "completion": f"Joke {n}."} for n in range(10)]
    result = imported(jsonl(rows))
    assert result.outcome.test_count == 0
    assert "largest such group has 10" in result.outcome.profile["notes"][0]


def mixed_in(version: Imported, max_rows: int = 0) -> Mixed:
    return Mixed("projects/acme/datasets/hotline/versions/1", str(version.out / "rows.parquet"), max_rows)


def test_mixed_in_rows_keep_their_side(imported: Import) -> None:
    old = imported(jsonl(hotline(100)), split=SplitSettings(seed=2))
    new = imported(jsonl(hotline(40, seed=9)), mixed=(mixed_in(old),), split=SplitSettings(0))
    sides = {row["id"]: row["split"] for row in new.rows()}
    assert len(sides) == 140
    assert all(sides[row["id"]] == row["split"] for row in old.rows())
    assert Counter(sides.values()) == {"TRAIN": 120, "TEST": 20}


def test_corrections_too_close_to_a_held_out_row_of_the_mixed_version_are_refused(imported: Import) -> None:
    old = imported(jsonl(hotline(100)), split=SplitSettings(seed=2))
    asked = old.rows("test")[0]["messages"][0]["content"]
    learned = old.rows("train")[0]["messages"][0]["content"]
    corrections = [
        {"prompt": asked, "completion": "Something entirely different was the right answer to this."},
        {"prompt": learned + "!", "completion": "This one is fine."},
        *hotline(10, seed=9),
    ]
    new = imported(jsonl(corrections), mixed=(mixed_in(old),), split=SplitSettings(0))
    assert new.reasons == [(1, "", "NEAR_DUPLICATE_OF_HELD_OUT")]
    assert most_alike(new.rows("test"), new.rows("train")) <= 0.7
    assert new.outcome.train_count == 80 + 11


def test_train_rows_of_one_version_too_close_to_held_out_rows_of_another_are_refused(imported: Import) -> None:
    rows = hotline(60)
    one = imported(jsonl(rows), split=SplitSettings(seed=1))
    other = imported(
        jsonl([row | {"completion": row["completion"] + " Bye."} for row in rows]), split=SplitSettings(seed=2)
    )
    both = imported(None, mixed=(mixed_in(one), mixed_in(other)), split=SplitSettings(0))
    assert {reject["reason"] for reject in both.rejects} == {"NEAR_DUPLICATE_OF_HELD_OUT"}
    assert most_alike(both.rows("test"), both.rows("train")) <= 0.7


def test_a_mix_may_take_so_many_train_rows_and_draws_them_by_the_seed(imported: Import) -> None:
    old = imported(jsonl(hotline(100)))
    drawn = [
        {
            row["id"]
            for row in imported(
                jsonl(hotline(5, seed=9)), mixed=(mixed_in(old, 30),), split=SplitSettings(0, seed)
            ).rows("train")
        }
        for seed in (1, 1, 2)
    ]
    assert [len(ids) for ids in drawn] == [35, 35, 35]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_job_survives_its_way_through_json() -> None:
    job = Job("SFT", "a", mixed=(Mixed("v", "r", 3),), split=SplitSettings(0.1, 4, {"new": 60}, 0.8))
    assert Job.from_json(job.to_json()) == job
