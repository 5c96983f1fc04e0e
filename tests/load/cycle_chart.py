"""Lines through a few points, panel beside panel, as one SVG without anything loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 280, 56, 24, 34, 46
INK, QUIET, ACCENT = "#15211f", "#6f807d", "#0c696b"
Points = Sequence[tuple[float, float]]


def svg(panels: Mapping[str, Points], y_label: str) -> str:
    """Title → points. All axes are linear and begin at 0; the panels have one scale for y."""
    top = max(y for points in panels.values() for _, y in points) * 1.1
    drawn = [
        f'<g transform="translate({number * WIDTH})">{_panel(title, points, top, y_label)}</g>'
        for number, (title, points) in enumerate(panels.items())
    ]
    width = WIDTH * len(panels)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">'
    return f'{head}<rect width="100%" height="100%" fill="#ffffff"/>{"".join(drawn)}</svg>\n'


def _panel(title: str, points: Points, top: float, y_label: str) -> str:
    most = max(x for x, _ in points)
    at = [
        (LEFT + x / most * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM))
        for x, y in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    marks = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ACCENT}"/>' for x, y in at]
    values = [_text(x, y - 8, f"{value:.0f}", INK) for (x, y), (_, value) in zip(at, points, strict=True)]
    ticks = [_text(x, HEIGHT - BOTTOM + 16, f"{given:,.0f}", QUIET) for (x, _), (given, _) in _apart(at, points)]
    base = HEIGHT - BOTTOM
    axes = f'<path d="M{LEFT},{TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="{QUIET}"/>'
    labels = _text(WIDTH / 2 + LEFT / 4, HEIGHT - 10, title, INK) + _text(LEFT + 40, TOP - 12, y_label, INK)
    path = f'<polyline points="{line}" fill="none" stroke="{ACCENT}" stroke-width="2"/>'
    return axes + path + "".join([*marks, *values, *ticks]) + labels


def _apart(at: Points, points: Points) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Those whose labels do not run into that of the one before."""
    kept: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for place, point in zip(at, points, strict=True):
        if not kept or place[0] - kept[-1][0][0] > 36:
            kept.append((place, point))
    return kept


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}">{text}</text>'
