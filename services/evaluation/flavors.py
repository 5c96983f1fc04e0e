"""What a million tokens cost on each flavor: as measured there, or not at all. Pure: comparisons in, a table out.

A price an hour alone tells no cost: how fast a flavor's cores are, the platform does not know before it measured.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from services.evaluation import pareto
from services.evaluation.comparisons import Candidate, points
from services.evaluation.models import Comparison

Measured = dict[str, dict[str, tuple[Candidate, str]]]  # flavor → variant → (candidate, its comparison)


def measured(comparisons: Iterable[Comparison], variants: Container[str]) -> Measured:
    """The newest figures of each of `variants` on each flavor. `comparisons` on one suite, the newest first."""
    found: Measured = {}
    for comparison in comparisons:
        for candidate in comparison.candidates:
            if candidate["state"] == "MEASURED" and candidate["flavor"] and candidate["variant"] in variants:
                of_flavor = found.setdefault(candidate["flavor"], {})
                of_flavor.setdefault(candidate["variant"], (candidate, comparison.name))
    return found


def costs(of_flavor: dict[str, tuple[Candidate, str]]) -> list[dict[str, Any]]:
    """The rows of one flavor, the cheapest first, with the front among them."""
    front = pareto.front(points([{"within_margin": True} | candidate for candidate, _ in of_flavor.values()]))
    rows = [
        {
            "variant": candidate["variant"],
            "quantisation": candidate["quantisation"],
            "million_tokens_microusd": candidate["million_tokens_microusd"],
            "score": candidate["score"]["value"],
            "on_front": candidate["variant"] in front,
            "comparison": comparison,
        }
        for candidate, comparison in of_flavor.values()
    ]
    return sorted(rows, key=lambda row: (row["million_tokens_microusd"], row["quantisation"]))
