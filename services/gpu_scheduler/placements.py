"""Placements as JSON, which is how the tables keep them."""

from __future__ import annotations

from typing import Any

from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.work import Placement, Share


def to_json(placement: Placement) -> list[dict[str, Any]]:
    return [
        {
            "node": share.node,
            "cpu_milli": share.amount.cpu_milli,
            "memory_bytes": share.amount.memory_bytes,
            "gpu_milli": share.amount.gpu_milli,
            "cards": [list(card) for card in share.cards],
        }
        for share in placement
    ]


def from_json(rows: list[dict[str, Any]]) -> Placement:
    return tuple(
        Share(
            row["node"],
            Amount(row["cpu_milli"], row["memory_bytes"], row["gpu_milli"]),
            tuple((index, milli) for index, milli in row["cards"]),
        )
        for row in rows
    )
