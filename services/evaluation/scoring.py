"""How one answer is compared with the expected one, and how many of them become a figure with an interval."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.evaluation import gate

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
CHRF_ORDER, CHRF_BETA = 6, 2.0


@dataclass(frozen=True)
class Score:
    """`valid`: the answer has the asked-for form. `text` is None where the suite scores none."""

    valid: bool
    exact: bool
    text: float | None


def score(scorer: Mapping[str, Any], expected: str, answer: str) -> Score:
    """By `scorer` {kind, exact_fields, text_field}."""
    if scorer["kind"] == "EXACT_TEXT":
        return Score(True, answer.strip() == expected.strip(), chrf(answer.strip(), expected.strip()))
    return _json_fields(scorer, expected, answer)


def _json_fields(scorer: Mapping[str, Any], expected: str, answer: str) -> Score:
    wanted, given = json_object(expected), json_object(answer)
    text_field = scorer.get("text_field", "")
    if wanted is None or given is None:
        return Score(False, False, 0.0 if text_field else None)
    exact = all(_same(wanted.get(name), given.get(name)) for name in scorer["exact_fields"])
    text = chrf(str(given.get(text_field, "")), str(wanted.get(text_field, ""))) if text_field else None
    return Score(True, exact, text)


def json_object(text: str) -> dict[str, Any] | None:
    """The object that `text` is, and nothing around it: who parses an answer has no patience either."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _same(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, str) and isinstance(given, str):
        return wanted.strip().casefold() == given.strip().casefold()
    return bool(wanted == given) and type(wanted) is type(given)


def chrf(answer: str, expected: str) -> float:
    """chrF2 of one sentence, 0 to 1: n-grams of 1 to 6 characters without white space (Popović 2015).

    Works on characters, and so for Chinese as well. An order that neither text is long enough for does not count.
    """
    first, second = "".join(answer.split()), "".join(expected.split())
    if not first or not second:
        return float(first == second)
    precisions, recalls = [], []
    for order in range(1, CHRF_ORDER + 1):
        ours, theirs = _ngrams(first, order), _ngrams(second, order)
        if not ours or not theirs:
            break
        matched = sum((ours & theirs).values())
        precisions.append(matched / sum(ours.values()))
        recalls.append(matched / sum(theirs.values()))
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    return (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall)


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927): right for few rows, and at 0 and 1."""
    share, spread = hits / count, Z95**2 / count
    middle = share + spread / 2
    width = Z95 * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - width) / (1 + spread)), min(1.0, (middle + width) / (1 + spread))


def summarise(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Figures for all rows (slice "") and for each slice: exact, valid_json and, where scored, text.

    `rows` have slice, valid, exact and text_score.
    """
    slices = ["", *sorted({row["slice"] for row in rows if row["slice"]})]
    return [
        figure
        for name in slices
        for figure in _figures(name, [r for r in rows if not name or r["slice"] == name], seed)
    ]


def _figures(name: str, rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    figures = []
    for metric, field in (("exact", "exact"), ("valid_json", "valid")):
        hits = sum(bool(row[field]) for row in rows)
        lower, upper = wilson(hits, len(rows))
        figures.append(_figure(name, metric, hits / len(rows), lower, upper, len(rows)))
    texts = np.array([row["text_score"] for row in rows if row["text_score"] is not None])
    if len(texts):
        lower, upper = gate.interval(texts, seed=seed, resamples=2_000)
        figures.append(_figure(name, "text", float(texts.mean()), lower, upper, len(texts)))
    return figures


def _figure(name: str, metric: str, value: float, lower: float, upper: float, count: int) -> dict[str, Any]:
    return {"slice": name, "metric": metric, "value": value, "lower": lower, "upper": upper, "count": count}
