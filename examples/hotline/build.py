"""Builds the JSONL files of the hotline example from the written situations.

    python examples/hotline/build.py            # writes hotline.*.jsonl and new_department.*.jsonl
    python examples/hotline/build.py --check    # writes nothing, fails if the files on disk differ

Every message and every reply was written on its own (`situations/<language>/<department>.txt`, one
`urgency | message | reply` a line); this script only turns them into rows, shuffles them by a fixed
seed, and puts a few deliberately bad rows among the English ones, so that an import has something
to refuse. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 2026
SYSTEM = "City hotline. Reply in JSON."
NEW_DEPARTMENT = "animals"
URGENCY = {"h": "high", "n": "normal", "l": "low"}

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files on disk instead of writing them")
    check = parser.parse_args().check
    stale = [path.name for path, text in outputs().items() if not settle(path, text, check=check)]
    if stale:
        print(f"out of date, run build.py: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


def outputs() -> dict[Path, str]:
    """Every file of the example with the text it must hold."""
    files: dict[Path, str] = {}
    for language in ("en", "zh"):
        main_rows, new_rows = rows_of(language)
        if language == "en":
            main_rows = with_bad_rows(main_rows)
        files[HERE / f"hotline.{language}.jsonl"] = to_jsonl(main_rows)
        files[HERE / f"new_department.{language}.jsonl"] = to_jsonl(new_rows)
    return files


def rows_of(language: str) -> tuple[list[Row], list[Row]]:
    """The rows of the eight departments of lap 1, and those of the new one, each shuffled."""
    main_rows: list[Row] = []
    new_rows: list[Row] = []
    for path in sorted((HERE / "situations" / language).glob("*.txt")):
        target = new_rows if path.stem == NEW_DEPARTMENT else main_rows
        target.extend(to_row(path.stem, line) for line in path.read_text(encoding="utf-8").splitlines())
    shuffle = random.Random(f"{SEED}-{language}").shuffle
    shuffle(main_rows)
    shuffle(new_rows)
    return main_rows, new_rows


def to_row(department: str, line: str) -> Row:
    """One row from one `urgency | message | reply` line."""
    urgency, message, reply = (part.strip() for part in line.split("|"))
    answer = {"department": department, "urgency": URGENCY[urgency], "reply": reply}
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": message},
            {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
        ],
        "slice": department,
    }


def with_bad_rows(rows: list[Row]) -> list[Row]:
    """`rows` with six bad ones spread among them, of the kinds that real exports contain."""
    spoilt = [json.loads(json.dumps(row)) for row in rows[40:44]]
    spoilt[0]["messages"].pop()  # the agent hung up: no answer
    spoilt[1]["messages"][2]["content"] = ""  # the answer was deleted
    spoilt[2]["messages"][2]["role"] = "operator"  # another system's role name
    spoilt[3]["messages"][1]["content"] = LONG_MESSAGE  # far over the length limit
    twin = json.loads(json.dumps(rows[90]))  # submitted twice
    near_twin = json.loads(json.dumps(rows[140]))  # submitted twice, the second time with an opener
    near_twin["messages"][1]["content"] = "Hi, " + near_twin["messages"][1]["content"]
    result = list(rows)
    result[40:44] = []
    for place, bad in zip((57, 119, 201, 288, 360, 431), (*spoilt, twin, near_twin), strict=True):
        result.insert(place, bad)
    return result


def to_jsonl(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def settle(path: Path, text: str, *, check: bool) -> bool:
    """Writes `text`, or under `check` only says whether the file already holds it."""
    if check:
        return path.exists() and path.read_text(encoding="utf-8") == text
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path.name}: {text.count(chr(10))} rows")
    return True


LONG_MESSAGE = (
    "I have to start at the beginning, so please bear with me. In 1987 my late husband and I bought the house on "
    "Juniper Hill, and in those days the mayor himself came by when something was wrong. Then they built the estate, "
    "then the supermarket, then the second supermarket, and each time I wrote a letter, and each time I got a very "
    "polite answer with a stamp on it. I kept them all in a blue folder. Last week I took the folder to the town hall, "
    "but the young man at the desk said that everything is online now and gave me this number, and then the line was "
    "busy, and then it was lunch, and then I had to fetch my grandson, who is four and a half and already reads. "
    "What I wanted to say about the hedge I have forgotten, but I will call again tomorrow, or come by with the folder."
)


if __name__ == "__main__":
    sys.exit(main())
