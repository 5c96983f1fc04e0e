"""What a version is like, in numbers: lengths, turns, languages, slices. Never a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import duckdb

SIDES: Final = {
    "SFT": ("messages", "messages"),
    "EVALUATION": ("messages", "messages"),
    "PREFERENCE": ("prompt", "chosen"),
    "PROMPT": ("prompt", "prompt"),
}
SCRIPTS: Final = {
    "han": r"\p{Han}", "kana": r"\p{Hiragana}\p{Katakana}", "hangul": r"\p{Hangul}", "latin": r"\p{Latin}",
    "cyrillic": r"\p{Cyrillic}", "arabic": r"\p{Arabic}",
}  # fmt: skip
JUDGED: Final = 400  # characters by which a row's script is judged
HISTOGRAM: Final = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800)


def describe(rows: Path, dataset_type: str) -> dict[str, Any]:
    """The profile of rows.parquet, lengths in characters. `language` is judged by script: a guess, not a promise."""
    with duckdb.connect(config={"threads": 2, "memory_limit": "256MB"}) as connection:
        connection.execute(_view(rows, dataset_type))
        return {
            "characters": {name: _quantiles(connection, name) for name in ("user", "answer", "row")},
            "turns": _quantiles(connection, "turns"),
            "histogram": _histogram(connection),
            "languages": _counts(connection, "language"),
            "slices": _slices(connection),
        }


def _view(rows: Path, dataset_type: str) -> str:
    asked, answered = SIDES[dataset_type]
    everything = asked if asked == answered else f"list_concat({asked}, chosen, rejected)"
    scripts = ", ".join(_letters(name, pattern) for name, pattern in SCRIPTS.items())
    path = str(rows).replace("'", "''")
    return f"""
        CREATE TEMP TABLE measured AS
        WITH texts AS (
            SELECT slice, split, len({everything}) AS turns,
                   {_total(asked, "user")} AS user, {_total(answered, "assistant")} AS answer,
                   list_sum(list_transform({everything}, lambda turn: length(turn.content))) AS row,
                   array_to_string(list_transform({everything}, lambda turn: turn.content), ' ') AS said
            FROM read_parquet('{path}')
        ), counted AS (SELECT * EXCLUDE said, {scripts} FROM texts)
        SELECT *, CASE
            WHEN (han + kana + hangul) * 2 < latin THEN 'latin'
            WHEN kana * 10 > han THEN 'ja'
            WHEN hangul > han THEN 'ko'
            WHEN han > 0 THEN 'zh'
            WHEN cyrillic > latin THEN 'cyrillic'
            WHEN arabic > latin THEN 'arabic'
            WHEN latin > 0 THEN 'latin'
            ELSE 'other' END AS language
        FROM counted"""


def _letters(script: str, pattern: str) -> str:
    """Letters of one script at the start of a row; a row of ASCII, which takes no search, has Latin ones at most."""
    found = f"length(regexp_replace(left(said, {JUDGED}), '[^{pattern}]', '', 'g'))"
    ascii_has = f"CAST(regexp_matches(left(said, {JUDGED}), '[A-Za-z]') AS BIGINT)" if script == "latin" else "0"
    return f"CASE WHEN strlen(said) = length(said) THEN {ascii_has} ELSE {found} END AS {script}"


def _total(column: str, role: str) -> str:
    spoken = f"list_filter({column}, lambda turn: turn.role = '{role}')"
    return f"coalesce(list_sum(list_transform({spoken}, lambda turn: length(turn.content))), 0)"


def _quantiles(connection: Any, column: str) -> dict[str, float]:
    query = f"""SELECT min({column}), quantile_disc({column}, [0.5, 0.9, 0.99]), max({column}), avg({column})
                FROM measured"""
    least, (p50, p90, p99), most, mean = connection.execute(query).fetchone()
    named = {"min": least, "p50": p50, "p90": p90, "p99": p99, "max": most}
    return {**{name: int(value) for name, value in named.items()}, "mean": round(float(mean), 1)}


def _histogram(connection: Any) -> list[dict[str, int]]:
    """Rows by length: each bin begins at `from` characters."""
    bins = "[" + ", ".join(map(str, HISTOGRAM)) + "]"
    query = f"""SELECT list_max(list_filter({bins}, lambda least: least <= row)) AS least, count(*)
                FROM measured GROUP BY least ORDER BY least"""
    counts = {int(least): int(count) for least, count in connection.execute(query).fetchall()}
    return [{"from": least, "rows": counts.get(least, 0)} for least in HISTOGRAM]


def _counts(connection: Any, column: str) -> dict[str, int]:
    query = f"SELECT {column}, count(*) AS rows FROM measured GROUP BY {column} ORDER BY rows DESC, {column}"
    return {str(name): int(count) for name, count in connection.execute(query).fetchall()}


def _slices(connection: Any) -> list[dict[str, Any]]:
    query = """SELECT slice, count(*) FILTER (split = 'TRAIN'), count(*) FILTER (split = 'TEST')
               FROM measured GROUP BY slice ORDER BY slice"""
    rows = connection.execute(query).fetchall()
    return [{"slice": name, "train_count": int(train), "test_count": int(test)} for name, train, test in rows]
