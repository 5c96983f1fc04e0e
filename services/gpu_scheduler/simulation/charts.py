"""Charts of replays as one SVG, or as a page around it: nothing is loaded from elsewhere, nothing is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from services.gpu_scheduler.simulation import series
from services.gpu_scheduler.simulation.model import Replay, Trace
from services.gpu_scheduler.simulation.report import Report, capacity_of, is_in_cores, report_of, waited
from services.gpu_scheduler.simulation.series import Points

# Okabe and Ito's colours, which the colour-blind can tell apart, without their yellow, which white paper swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MOST_POINTS = 600
WIDTH, HEIGHT = 560, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 44
UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
LEAST_SECONDS = 0.1  # where a logarithmic axis begins: what is shorter is drawn there
CLOCK = "hours, at most (logarithmic; what is under 0.1 s is drawn there)"
WIDEST = 7  # pixels that a letter takes on average, or fewer
STYLE = "font-family:system-ui,sans-serif;font-size:12px;fill:#222"


@dataclass(frozen=True)
class Panel:
    """One chart. A line: (its name, its points); a value holds until the next point."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[tuple[str, Points]]
    log_x: bool = False
    ceiling: float = 0.0  # drawn as a dashed line, if there is one


def write_chart(path: Path, replays: Sequence[Replay], trace: Trace) -> None:
    """SVG or HTML, as `path` ends; whole or not at all. The same replays give the same bytes."""
    picture = svg(panels_of(replays, trace), [replay.policy for replay in replays])
    text = picture if path.suffix == ".svg" else page(picture, [report_of(replay, trace) for replay in replays])
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def panels_of(replays: Sequence[Replay], trace: Trace) -> list[Panel]:
    unit = "cores" if is_in_cores(trace) else "cards"
    capacity = max((math.fsum(capacity_of(replay, trace).values()) for replay in replays), default=0.0)
    ended = {replay.policy: [(o, o.end) for o in replay.outcomes if o.end is not None] for replay in replays}
    scale, name = _unit(max((end for pairs in ended.values() for _, end in pairs), default=1.0))
    time = f"time since the trace began ({name})"

    def over_time(points: Points) -> Points:
        return [(x / scale, y) for x, y in series.thinned(points, MOST_POINTS)]

    def shares(values: list[float]) -> Points:
        thin = series.thinned(series.distribution(values), MOST_POINTS)
        return [(max(x, LEAST_SECONDS) / 3600, y * 100) for x, y in thin]

    completion = [(policy, shares([end - o.job.submit for o, end in pairs])) for policy, pairs in ended.items()]
    waits = [(policy, shares([waited(o, end) for o, end in pairs])) for policy, pairs in ended.items()]
    return [
        Panel("Jobs that wait", time, "jobs", [(r.policy, over_time(series.waiting(r))) for r in replays]),
        Panel(
            f"{unit.capitalize()} in use", time, unit, [(r.policy, over_time(series.busy(r, trace))) for r in replays],
            ceiling=capacity,
        ),
        Panel("Completion time of jobs", CLOCK, "% of jobs", completion, log_x=True),
        Panel("Wait of jobs", CLOCK, "% of jobs", waits, log_x=True),
    ]  # fmt: skip


def svg(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Two panels a row, with one legend on top."""
    rows = -(-len(panels) // 2)
    width, height = 2 * WIDTH, rows * HEIGHT + 30
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    about = 'role="img" aria-label="Simulated schedules compared"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {about} style="{STYLE}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    x = LEFT
    for index, name in enumerate(names):
        text = f"{name} (simulated)"
        parts.append(f'<rect x="{x}" y="10" width="14" height="4" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 20}" y="16">{escape(text)}</text>')
        x += 44 + WIDEST * len(text)
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index % 2 * WIDTH},{30 + index // 2 * HEIGHT})">')
        parts += [*_drawn(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def page(picture: str, reports: Sequence[Report]) -> str:
    """The picture with its numbers below it."""
    head = "".join(f"<th>{escape(str(report['policy']))}</th>" for report in reports)
    body = "".join(
        f"<tr><th>{escape(key)}</th>" + "".join(f"<td>{_cell(report[key])}</td>" for report in reports) + "</tr>\n"
        for key in reports[0]
        if key != "policy"
    )
    style = f"body{{{STYLE};margin:24px}}svg{{max-width:100%;height:auto}}th,td{{text-align:right;padding:2px 12px}}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>gyre simulate</title>'
        f"<style>{style}</style></head>\n<body><h1>Simulated schedules</h1>\n{picture}"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>\n{body}</tbody></table></body></html>\n"
    )


def _drawn(panel: Panel) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    xs = [x for _, points in panel.lines for x, _ in points] or [1.0]
    top = max([y for _, points in panel.lines for _, y in points] + [panel.ceiling]) or 1.0
    x_ticks = _decades(min(xs), max(xs)) if panel.log_x else _ticks(max(xs) or 1.0)
    y_ticks = _ticks(top)
    x_of = Scale(x_ticks[0], x_ticks[-1], LEFT, right, log=panel.log_x)
    y_of = Scale(0.0, y_ticks[-1], bottom, TOP)
    parts = [f'<text x="{LEFT}" y="{TOP - 12}" font-weight="bold">{escape(panel.title)}</text>']
    parts += [part for tick in y_ticks for part in _across(y_of(tick), 'stroke="#e4e4e4"', LEFT - 8, f"{tick:g}")]
    for tick in x_ticks:
        x = f"{x_of(tick):.1f}"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}" stroke="#888"/>')
        parts.append(f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.x_label)}</text>')
    turned = f'transform="translate(14,{(TOP + bottom) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(panel.y_label)}</text>')
    if panel.ceiling:
        parts += _across(
            y_of(panel.ceiling), 'stroke="#888" stroke-dasharray="4 4"', right, f"all {panel.ceiling:g}", -8
        )
    for index, (_, points) in enumerate(panel.lines):
        path = _path([(x_of(x), y_of(y)) for x, y in points])
        parts.append(f'<path d="{path}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.5"/>')
    return parts


def _across(y: float, stroke: str, text_x: float, text: str, rise: float = 0.0) -> list[str]:
    """A line over the whole width at height `y`, and what it stands for."""
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {stroke}/>',
        f'<text x="{text_x}" y="{y + 4 + rise:.1f}" text-anchor="end">{text}</text>',
    ]


def _path(points: Points) -> str:
    """Steps go along first, then up or down."""
    if not points:
        return ""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    parts += [f"H{x:.1f}V{y:.1f}" for x, y in points[1:]]
    return "".join(parts)


class Scale:
    """From values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._log = log
        self._low, self._start = self._put(low), start
        self._factor = (end - start) / ((self._put(high) - self._low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (self._put(value) - self._low) * self._factor

    def _put(self, value: float) -> float:
        return math.log10(value) if self._log else value


def _ticks(top: float) -> list[float]:
    """From 0 to at least `top`, in steps of 1, 2 or 5 times a power of ten."""
    raw = top / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _unit(seconds: float) -> tuple[float, str]:
    """In which one says a time of that length: at least three of it."""
    return next((each for each in UNITS if seconds >= 3 * each[0]), UNITS[-1])


def _cell(figure: float | str | None) -> str:
    if figure is None:
        return "–"
    return f"{figure:,.4g}" if isinstance(figure, float) and abs(figure) < 1000 else escape(f"{figure:,.0f}")
