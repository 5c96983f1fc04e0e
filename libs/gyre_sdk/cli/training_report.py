"""A run as one HTML page: data, settings, curves, alarms, cost. Nothing is loaded from elsewhere, nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from gyre.training_scheduler.v1.run_pb2 import Alarm, MetricPoint, Run, Sample

from gyre_sdk import messages, names
from gyre_sdk.cli.output import duration, money, size
from gyre_sdk.resources.training import settings_of

FIRST: Final = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_bytes")
NEEDLESS: Final = ("epoch", "num_tokens")  # they rise evenly
MOST_POINTS: Final = 400  # of a curve
WIDTH, HEIGHT, LEFT, EDGE = 420, 170, 64, 22
STYLE: Final = (
    "body{font:14px system-ui,sans-serif;color:#222;margin:24px auto;max-width:900px}"
    "th,td{text-align:left;padding:2px 12px 2px 0;vertical-align:top}th{font-weight:600}td{word-break:break-all}"
    "figure{display:inline-block;margin:0 12px 12px 0}svg{max-width:100%}text{font-size:11px;fill:#444}"
)
Rows = Iterable[tuple[str, object]]


def page(run: Run, points: Sequence[MetricPoint], alarms: Sequence[Alarm], samples: Sequence[Sample] = ()) -> str:
    """The same record gives the same bytes."""
    title = f"Run #{run.number}: {run.display_name}"
    sections = [
        ("Outcome", _table(_outcome(run))),
        ("Data and weights", _table(_inputs(run))),
        ("Settings", _table(settings_of(run.spec.hyperparameters).items())),
        ("Curves", "".join(_figure(name, curve) for name, curve in curves(points)) or "<p>No values.</p>"),
        ("Before and after", _before_and_after(samples) or "<p>No answers were kept.</p>"),
        ("Alarms", _table(_alarms(alarms)) if alarms else "<p>None.</p>"),
    ]
    body = "\n".join(f"<h2>{heading}</h2>\n{content}" for heading, content in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def curves(points: Sequence[MetricPoint]) -> list[tuple[str, list[tuple[int, float]]]]:
    """By metric, the best known first: its steps and values, thinned to MOST_POINTS, the last among them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        for name, value in point.metrics.items():
            found.setdefault(name, []).append((point.step, value))
    order = {name: at for at, name in enumerate(FIRST)}
    shown = sorted(found.keys() - set(NEEDLESS), key=lambda name: (order.get(name, len(order)), name))
    return [(name, _thinned(found[name])) for name in shown]


def _thinned(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    stride = -(-len(curve) // MOST_POINTS)
    return curve[::-stride][::-1]


def _outcome(run: Run) -> Rows:
    yield "State", messages.enum_name(run, "state") + (", stopped early" if run.stopped_early else "")
    if run.failure_message:
        yield "Why", run.failure_message
    yield "Method", messages.enum_name(run.spec, "method")
    yield "Steps", f"{run.step} of {run.total_steps}"
    if run.HasField("end_time") and run.HasField("start_time"):
        yield "Time", duration((run.end_time.ToDatetime() - run.start_time.ToDatetime()).total_seconds())
    yield "Cost", f"{money(run.cost_microusd)} ({money(run.estimate.cost_microusd)} were expected)"
    if peak := run.metrics.get("memory_bytes"):
        yield "Peak memory", f"{size(int(peak))} ({size(run.estimate.memory_bytes)} were expected)"
    if run.model_version:
        yield "Result", names.short(run.model_version)
    if run.content_digest:
        yield "Content of the result", run.content_digest
    yield "Run again", f"gyre runs again {run.number}"


def _inputs(run: Run) -> Rows:
    for given in run.inputs:
        rows = f", {given.rows} rows" if given.rows else ""
        role = messages.enum_name(given, "role").replace("_", " ").capitalize()
        yield role, f"{names.short(given.name)}{rows}, {given.digest}"
    if run.forked_from:
        yield "Forked from", run.forked_from
    yield "Seed", run.spec.seed


def _before_and_after(samples: Sequence[Sample]) -> str:
    """Of each prompt the first answer and the last."""
    of: dict[int, list[Sample]] = {}
    for sample in samples:
        of.setdefault(sample.number, []).append(sample)
    tables = []
    for number in sorted(of):
        said = sorted(of[number], key=lambda each: each.step)
        ends = [said[0], said[-1]] if len(said) > 1 else said
        rows = [("Prompt", said[0].prompt), ("Expected", said[0].expected)]
        tables.append(_table([*rows, *((f"Step {each.step}", each.answer) for each in ends)]))
    return "".join(tables)


def _alarms(alarms: Sequence[Alarm]) -> Rows:
    for alarm in alarms:
        kind, action = messages.enum_name(alarm, "kind"), messages.enum_name(alarm, "action")
        yield f"Step {alarm.step}", f"{kind}: {action} {alarm.detail}".strip()


def _table(rows: Rows) -> str:
    lines = [f"<tr><th>{escape(str(name))}</th><td>{escape(_said(value))}</td></tr>" for name, value in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figure(name: str, curve: Sequence[tuple[int, float]]) -> str:
    """One line over steps, with the least and the greatest of both axes."""
    first, last = curve[0][0], curve[-1][0]
    low, high = min(value for _, value in curve), max(value for _, value in curve)
    right, bottom = WIDTH - EDGE, HEIGHT - EDGE

    def x_of(step: int) -> float:
        return LEFT + (right - LEFT) * (step - first) / ((last - first) or 1)

    def y_of(value: float) -> float:
        return bottom - (bottom - EDGE) * (value - low) / ((high - low) or 1)

    line = " ".join(f"{x_of(step):.1f},{y_of(value):.1f}" for step, value in curve)
    about = escape(f"{name} from {curve[0][1]:g} to {curve[-1][1]:g}")
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{about}"><text x="{LEFT}" y="14" font-weight="bold">{escape(name)}</text>'
        f'<path d="M{LEFT},{EDGE}V{bottom}H{right}" fill="none" stroke="#bbb"/>'
        f'<polyline points="{line}" fill="none" stroke="#0072b2" stroke-width="1.5"/>'
        f'<text x="{LEFT - 6}" y="{EDGE + 4}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{first}</text>'
        f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">{last}</text></svg></figure>'
    )
