"""Quality against cost of the quantisations of SmolLM2-135M: measured through the platform, drawn for the documentation.

    python tests/load/bench_quantisation.py measure hotline@1 --suite hotline [--calibrate hotline@1]
    python tests/load/bench_quantisation.py draw

`measure` wants a platform that runs (`gyre up`), a version and a suite; it makes a comparison and puts its figures into
docs/benchmarks/quantisation.json, under a title. `draw` makes the chart beside it and the tables in quantisation.md of
that file. Nothing is asserted: figures belong to the machine that they were measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

from gyre_sdk import Gyre, messages

FOLDER = ROOT / "docs" / "benchmarks"
FIGURES, CHART, PAGE = (FOLDER / f"quantisation.{kind}" for kind in ("json", "svg", "md"))
PACKAGES = ("xllamacpp", "cyllama", "libgguf", "torch", "transformers")
Figures = dict[str, Any]


def measure(options: argparse.Namespace) -> None:
    with Gyre() as gyre:
        comparison = gyre.comparisons.create(
            gyre.models.version_name(options.version),
            gyre.suites.name(options.suite),
            quantisations=options.quantisation,
            baseline=options.baseline,
            metric=options.metric,
            margin=options.margin / 100,
            calibration=gyre.datasets.version_name(options.calibrate) if options.calibrate else "",
        )
        done = gyre.comparisons.wait(comparison.name)
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    known[options.title or options.version] = {
        "machine": machine(),
        "margin_points": options.margin,
        "comparison": messages.to_json(done),
    }
    FOLDER.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    print(f"written to {FIGURES}: recommended {done.recommended}. {done.recommendation_message}")


def machine() -> Figures:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "load_average_at_the_end": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def draw(_: argparse.Namespace) -> None:
    known = json.loads(FIGURES.read_text())
    CHART.write_text(
        chart({title: it["comparison"] for title, it in known.items() if it["comparison"]["metric"] == "exact"})
    )
    tables = "\n".join(f"### {title}\n\n{table(it)}" for title, it in known.items())
    text = PAGE.read_text()
    begin, end = "<!-- tables: begin -->", "<!-- tables: end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{tables}{end}{after}")


def table(measured: Figures) -> str:
    comparison, about = measured["comparison"], measured["machine"]
    head = (
        f"| | size | memory | perplexity | {comparison['metric']} (95 %) | difference (95 %) | first token p50 / p95 |"
        " tokens/s alone / 8 slots | $ / M tokens | front |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|:-:|\n"
    )
    rows = "".join(row(it, comparison) for it in comparison["candidates"])
    packages = ", ".join(f"{name} {about[name]}" for name in PACKAGES)
    fallbacks = "".join(f"- {it['quantisation']}: {it['note']}.\n" for it in comparison["candidates"] if it.get("note"))
    return (
        f"{head}{rows}\n{comparison['recommendation_message']}\n\n{fallbacks}\n"
        f"{about['date']}, {about['cores']} cores of {about['cpu']}, load {about['load_average_at_the_end']}; {packages}.\n\n"
    )


def row(it: Figures, comparison: Figures) -> str:
    cost, score = it["cost"], it["score"]
    bold = "**" if it["variant"] == comparison["recommended"] else ""
    is_baseline = it["quantisation"] == comparison["baseline"]
    difference = (
        ""
        if is_baseline
        else f"{points(it, 'difference')} ({points(it, 'difference_lower')} to {points(it, 'difference_upper')})"
    )
    cells = [
        f"{bold}{it['quantisation']}{bold}",
        f"{int(it['size_bytes']) / 1e6:.1f} MB",
        f"{int(cost['memory_bytes']) / 1e6:.0f} MB",
        f"{cost['perplexity']:.4f}",
        f"{score['value']:.1%} ({score.get('lower', 0):.1%}–{score['upper']:.1%})",
        difference,
        f"{cost['time_to_first_token_p50_ms']:.0f} / {cost['time_to_first_token_p95_ms']:.0f} ms",
        f"{cost['single_tokens_per_second']:.0f} / {it['tokens_per_second']:.0f}",
        f"{int(it['million_tokens_microusd']) / 1e6:.4f}",
        "●" if it.get("on_front") else "",
    ]
    return f"| {' | '.join(cells)} |\n"


def points(it: Figures, field: str) -> str:
    return f"{it.get(field, 0.0) * 100:+.1f}"


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 320, 60, 70, 40, 50
INK, QUIET, ACCENT = "#15211f", "#6f807d", "#0c696b"


def chart(comparisons: dict[str, Figures]) -> str:
    """One plot beside the other, on the same axes: score against cost, intervals, the front as a line."""
    marks = [it for comparison in comparisons.values() for it in comparison["candidates"]]
    costs = [int(it["million_tokens_microusd"]) / 1e6 for it in marks]
    scores = [it["score"] for it in marks]
    x_range = (min(costs) * 0.95, max(costs) * 1.03)
    y_range = (min(it.get("lower", 0) for it in scores) - 0.01, max(it["upper"] for it in scores) + 0.01)
    plots = "".join(
        f'<g transform="translate({index * WIDTH})">{plot(title, comparison, x_range, y_range)}</g>'
        for index, (title, comparison) in enumerate(comparisons.items())
    )
    size = f'viewBox="0 0 {WIDTH * len(comparisons)} {HEIGHT}" width="{WIDTH * len(comparisons)}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">' + (
        f'<rect width="100%" height="100%" fill="#ffffff"/>{plots}</svg>\n'
    )


def plot(title: str, comparison: Figures, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    def x(cost: float) -> float:
        return LEFT + (cost - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT)

    def y(score: float) -> float:
        return HEIGHT - BOTTOM - (score - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [
        text(WIDTH / 2, 18, title, INK, "middle"),
        text(WIDTH / 2, HEIGHT - 12, "$ for a million tokens", INK, "middle"),
    ]
    for step in range(5):
        cost, score = (low + (high - low) * step / 4 for low, high in (x_range, y_range))
        parts.append(f'<path d="M{LEFT} {y(score):.1f}H{WIDTH - RIGHT}" stroke="#e8edec"/>')
        parts.append(text(LEFT - 6, y(score) + 4, f"{score:.0%}", QUIET, "end"))
        parts.append(text(x(cost), HEIGHT - BOTTOM + 18, f"{cost:.3f}", QUIET, "middle"))
    placed = [(int(it["million_tokens_microusd"]) / 1e6, it) for it in comparison["candidates"]]
    front = sorted((cost, it["score"]["value"]) for cost, it in placed if it.get("on_front"))
    line = "L".join(f"{x(cost):.1f} {y(score):.1f}" for cost, score in front)
    parts.append(f'<path d="M{line}" fill="none" stroke="{ACCENT}" stroke-width="2" stroke-dasharray="5 4"/>')
    for cost, it in placed:
        score, on_front = it["score"], it.get("on_front")
        parts.append(
            f'<path d="M{x(cost):.1f} {y(score.get("lower", 0)):.1f}V{y(score["upper"]):.1f}" stroke="{QUIET}"/>'
            + shape(x(cost), y(score["value"]), on_front, it["variant"] == comparison["recommended"])
            + text(x(cost) + 10, y(score["value"]) + 4, it["quantisation"], INK, "start")
        )
    return "".join(parts)


def shape(x: float, y: float, on_front: bool, recommended: bool) -> str:
    fill = f'fill="{ACCENT if on_front else "#ffffff"}" stroke="{ACCENT if on_front else QUIET}" stroke-width="2"'
    if recommended:
        return f'<path d="M{x:.1f} {y - 9:.1f}l9 9l-9 9l-9 -9z" {fill}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {fill}/>'


def text(x: float, y: float, content: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{content}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("measure")
    one.add_argument("version", help="for example hotline@1")
    one.add_argument("--suite", required=True)
    one.add_argument("--calibrate", default="", help="data set version, for example hotline@1")
    one.add_argument("--quantisation", action="append", default=[], help="repeat it; all four without")
    one.add_argument("--baseline", default="F16")
    one.add_argument("--metric", default="exact")
    one.add_argument("--margin", type=float, default=5.0, help="points")
    one.add_argument("--title", default="", help="what the figures are filed under")
    one.set_defaults(act=measure)
    parts.add_parser("draw").set_defaults(act=draw)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
