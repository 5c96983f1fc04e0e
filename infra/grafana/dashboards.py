"""The Grafana dashboards as code: `python -m infra.grafana.dashboards` writes dashboards/*.json beside it.

One file a board in `boards/`. A panel is a question with its queries; the layout follows from the order. `tests/infra`
asks every query of a real Prometheus and compares the JSON with what this file makes.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from infra.grafana.boards.gateway import GATEWAY
from infra.grafana.boards.panels import Board, Panel
from infra.grafana.boards.platform import PLATFORM
from infra.grafana.boards.queue import QUEUE

FOLDER: Final = Path(__file__).parent / "dashboards"
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="gyre-prometheus")  # as provisioned
BOARDS: Final = (PLATFORM, GATEWAY, QUEUE)


def render(board: Board) -> str:
    """The dashboard as Grafana's JSON; the same input gives the same bytes."""
    built = dashboard.Dashboard(board.title).uid(board.uid).tags(["gyre"]).refresh("30s").time("now-1h", "now")
    built = built.timezone("browser").editable()
    if board.variable:
        built = built.with_variable(_variable(*board.variable))
    ids = count(1)
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            built = built.with_panel((_number(panel) if panel.now else _curve(panel)).id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _variable(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(name).datasource(DATASOURCE)
    variable = variable.query(f"label_values({metric}, {label})").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.multi(True).include_all(True).all_value(".*")


def _curve(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(8).line_width(1)
    return _filled(built, panel, height=8)


def _number(panel: Panel) -> stat.Panel:
    return _filled(stat.Panel(), panel, height=4)


def _filled(built: Any, panel: Panel, height: int) -> Any:
    built = built.title(panel.title).description(panel.description).unit(panel.unit).datasource(DATASOURCE)
    for index, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + index)).datasource(DATASOURCE)
        built = built.with_target(query.legend_format(legend).instant() if panel.now else query.legend_format(legend))
    return built.span(panel.width).height(height)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        path.write_text(render(board), encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")


if __name__ == "__main__":
    main()
