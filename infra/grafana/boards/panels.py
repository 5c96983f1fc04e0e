"""What a board is made of, and the two shapes that most queries have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RPC: Final = "gyre_rpc_server_duration_seconds"


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL and the legend of its series. `now`: one number of this moment in place of a curve."""

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    now: bool = False


@dataclass(frozen=True)
class Board:
    """`variable`: the label to choose from, and the metric that has it."""

    uid: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variable: tuple[str, str, str] | None = None


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"
