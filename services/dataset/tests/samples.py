"""Rows that tests import, and plain measures that share no code with the importer."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

PUBLIC_DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

STREETS = [
    "Forge Lane",
    "Mill Road",
    "Harbour Street",
    "Oak Avenue",
    "Castle Hill",
    "Station Road",
    "Market Square",
    "River Walk",
]
THINGS = [
    "street light",
    "bin",
    "bench",
    "swing",
    "traffic light",
    "bus stop",
    "drain",
    "kerb",
    "hedge",
    "playground fence",
]
FAULTS = ["is broken since", "was torn off", "smells of gas", "makes a loud noise", "leaks water", "blocks the way"]
TIMES = ["Monday", "Tuesday morning", "last night", "the storm", "three weeks ago", "Easter"]
ANSWERS = ["We will send somebody.", "Thank you, it is noted.", "Please keep away from it.", "A team is on its way."]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def hotline(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Different messages to a city's hotline, in prompt/completion form with slices."""
    draw = random.Random(seed)
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:
        said = f"The {draw.choice(THINGS)} at {draw.randint(1, 999)} {draw.choice(STREETS)} {draw.choice(FAULTS)}"
        said += f" {draw.choice(TIMES)}, ticket {draw.randrange(10**12)}"
        answer = f"{draw.choice(ANSWERS)} Your number is {draw.randrange(10**12)}."
        rows[said] = {"prompt": said, "completion": answer, "slice": draw.choice(["roads", "waste", "parks"])}
    return list(rows.values())


def pair(question: str, good: str = "Yes, gladly.", bad: str = "No.") -> dict[str, Any]:
    return {"prompt": question, "chosen": good, "rejected": bad}


def five_grams(text: str) -> set[str]:
    return {text[at : at + 5] for at in range(len(text) - 4)} or {text}


def similarity(left: str, right: str) -> float:
    a, b = five_grams(left), five_grams(right)
    return len(a & b) / len(a | b)


def user_text(row: dict[str, Any]) -> str:
    return "\n".join(turn["content"] for turn in row.get("messages") or row["prompt"] if turn["role"] == "user")


def whole_text(row: dict[str, Any]) -> str:
    turns = row.get("messages") or [*row["prompt"], *row["chosen"], *row["rejected"]]
    return "\n".join(turn["content"] for turn in turns)


def most_alike(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> float:
    """The highest similarity between a row of one list and one of the other, of user texts and of whole rows."""
    highest = 0.0
    for text_of in (user_text, whole_text):
        theirs = [five_grams(text_of(row)) for row in right]
        having: dict[str, list[int]] = {}
        for row, grams in enumerate(theirs):
            for gram in grams:
                having.setdefault(gram, []).append(row)
        for ours in (five_grams(text_of(row)) for row in left):
            shared = Counter(row for gram in ours for row in having.get(gram, ()))
            ratios = (both / (len(ours) + len(theirs[row]) - both) for row, both in shared.items())
            highest = max(highest, *ratios, 0.0)
    return highest


def read_rejects(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
