"""`gyre simulate`: traces replayed here, with the scheduler's own policies. Asks no platform for anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gyre_sdk.cli.base import OPTIONS, Exit, GyreGroup, common_options
from gyre_sdk.errors import InputError
from services.gpu_scheduler.decisions.policies import POLICIES
from services.gpu_scheduler.simulation.engine import DEFAULT_POLICY

if TYPE_CHECKING:
    from services.gpu_scheduler.simulation.model import Options, Replay, Trace
    from services.gpu_scheduler.simulation.report import Figure, Report

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
CHARTS = (".svg", ".html")
TRACES = ("philly", "openb", "sacct")
TITLES: Final[Mapping[str, str]] = {
    "jobs": "jobs",
    "never_ended_jobs": "never ended",
    "refused_jobs": "could never fit",
    "mean_jct_s": "completion, mean",
    "p50_jct_s": "completion, p50",
    "p99_jct_s": "completion, p99",
    "max_jct_s": "completion, longest",
    "mean_wait_s": "wait, mean",
    "p50_wait_s": "wait, p50",
    "p99_wait_s": "wait, p99",
    "makespan_s": "makespan",
    "utilisation": "utilisation",
    "fragmentation": "fragmentation",
    "jain_index": "Jain's index",
    "p99_finish_time_fairness": "finish-time fairness, p99",
    "preemptions": "preemptions",
    "preemptions_per_job": "preemptions a job",
}
SHARES = ("utilisation", "fragmentation")


class Seconds(click.FloatRange):
    """Not negative and finite."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        return seconds if math.isfinite(seconds) else self.fail(f"{value!r} is no finite number.", param, ctx)


class Policies(click.ParamType[tuple[str, ...]]):
    """Names with commas between them, each once."""

    name = "policies"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        for name in names:
            if name not in POLICIES:
                self.fail(f"{name!r} is no policy. Policies: {', '.join(POLICIES)}.", param, ctx)
        return names


@click.group(cls=GyreGroup, invoke_without_command=True)
@click.option("--trace", type=FILE, help="Jobs, as CSV; may be gzipped.")
@click.option("--nodes", type=FILE, help="Nodes and their cards. Without it, quotas alone bound what runs.")
@click.option("--quotas", type=FILE, help="Quotas of queues, with cohorts and limits.")
@click.option("--speeds", type=FILE, help="Speeds of models on flavors.")
@click.option("--policy", type=click.Choice(list(POLICIES)), help=f"[default: {DEFAULT_POLICY}]")
@click.option("--compare", type=Policies(), metavar="P1,P2,...", help="Several policies side by side.")
@click.option(
    "--placement", type=click.Choice(["nodes", "count"]), default="nodes", show_default=True,
    help="count: any free cards will do, wherever they are.",
)  # fmt: skip
@click.option("--resume-cost-s", type=Seconds(), default=30.0, show_default=True, help="What a preempted job loses.")
@click.option("--no-checkpoints", is_flag=True, help="A preempted job begins anew, and does not go on where it was.")
@click.option("--first-half", "half", flag_value="first", help="The earlier half of the jobs alone.")
@click.option("--second-half", "half", flag_value="second", help="The later half, for judging what the first chose.")
@click.option("--scenario", type=FILE, help="A scenario with its expected end; exit code 1 where it ends otherwise.")
@click.option("--chart", type=NEW_FILE, help="Draw it into this .svg or .html file.")
@click.option("--out", type=NEW_FILE, help="Write what became of each job into this CSV file.")
@common_options
@click.pass_context
def simulate(
    ctx: click.Context, trace: Path | None, nodes: Path | None, quotas: Path | None, speeds: Path | None,
    policy: str | None, compare: tuple[str, ...], placement: str, resume_cost_s: float,
    no_checkpoints: bool, half: str | None, scenario: Path | None, chart: Path | None, out: Path | None,
) -> int:  # fmt: skip
    """Replay a trace of jobs under a policy. No card is touched: all figures are of a simulation.

    The policies and the cycle are those of the scheduler itself, on a clock of their own; the same input gives the
    same output, byte for byte. `srtf` is the oracle, which alone knows how long jobs take.

    Examples:
    gyre simulate --trace trace.csv --nodes nodes.csv --policy fair
    gyre simulate --trace trace.csv --nodes nodes.csv --compare fifo,fair,srtf --chart compared.html
    gyre simulate --trace trace.csv --quotas quotas.csv --policy fifo --json
    gyre simulate --scenario scenario.json
    gyre simulate import philly cluster_job_log cluster_machine_list --out philly
    """
    from services.gpu_scheduler.simulation.model import Options

    if ctx.invoked_subcommand:
        return Exit.OK
    if scenario:
        if trace or policy or compare:
            raise click.UsageError("A scenario has its own jobs and policy: give --scenario alone.")
        return _run_scenario(scenario)
    if policy and compare:
        raise click.UsageError("Give --policy or --compare, not both.")
    if not trace:
        raise click.UsageError("Give --trace, or --scenario.")
    if not nodes and not quotas:
        raise click.UsageError("Give --nodes, or --quotas, or both: nothing else bounds what runs.")
    _check_new_files(chart, out)
    loaded = _load(trace, nodes, quotas, speeds, half)
    options = Options(placement, resume_cost_s, checkpoints=not no_checkpoints)
    replays = _replay(loaded, compare or (policy or DEFAULT_POLICY,), options)
    _write(replays, loaded, chart, out)
    _show(replays, loaded, bool(compare))
    return Exit.OK


@simulate.command("import")
@click.argument("kind", type=click.Choice(TRACES))
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.")
@click.option("--force", is_flag=True, help="Replace a trace that is there.")
def import_(kind: str, files: tuple[Path, ...], out: Path, force: bool) -> None:
    """Turn somebody else's trace into trace.csv, and nodes.csv where it has nodes.

    `philly` reads cluster_job_log and cluster_machine_list of Microsoft's Philly traces, `openb` the pods and nodes of
    Alibaba's cluster-trace-gpu-v2023, `sacct` what Slurm's `sacct --parsable2` prints.

    Examples:
    gyre simulate import philly cluster_job_log cluster_machine_list --out philly
    gyre simulate import openb openb_pod_list_default.csv openb_node_list_gpu_node.csv --out openb
    gyre simulate import sacct jobs.txt --out slurm
    """
    from gyre_sdk.cli import output
    from services.gpu_scheduler.simulation.importers import IMPORTERS
    from services.gpu_scheduler.simulation.traces import write_trace

    if (out / "trace.csv").exists() and not force:
        raise click.UsageError(f"{out / 'trace.csv'} is there already. Give another --out, or --force.")
    with _refusing():
        imported = IMPORTERS[kind](files)
    with _writing(out):
        written = write_trace(imported.trace, out)
    jobs, left_out = len(imported.trace.jobs), dict(imported.left_out)
    if OPTIONS.json:
        output.show_json({"jobs": jobs, "left_out": left_out, "files": [str(path) for path in written]})
        return
    click.echo(f"{jobs:,} jobs, {len(imported.trace.nodes):,} nodes: {', '.join(str(path) for path in written)}.")
    for reason, count in left_out.items():
        click.echo(f"Left out: {count:,} ({reason}).")


def _run_scenario(path: Path) -> int:
    from gyre_sdk.cli import output
    from services.gpu_scheduler.simulation import scenarios

    try:
        found = scenarios.run(path)
    except ValueError as error:
        raise InputError("BAD_SCENARIO", f"{error}.", "Correct the scenario's file.") from error
    if OPTIONS.json:
        output.show_json(
            {"scenario": found.name, "as_expected": found.passed, "differences": found.faults, "state": found.state}
        )
    elif found.passed:
        click.echo(f"{found.name} ends as expected.")
    else:
        click.echo(f"{found.name} ends otherwise than expected:")
        for fault in found.faults:
            click.echo(f"  {fault}")
    return Exit.OK if found.passed else Exit.FAILURE


def _check_new_files(chart: Path | None, out: Path | None) -> None:
    """Before the work, not after it."""
    if chart and chart.suffix not in CHARTS:
        raise click.UsageError(f"--chart {chart}: the name has to end in {' or '.join(CHARTS)}.")
    for path in (chart, out):
        if path and not path.absolute().parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.absolute().parent}.")


def _load(trace: Path, nodes: Path | None, quotas: Path | None, speeds: Path | None, half: str | None) -> Trace:
    from services.gpu_scheduler.simulation import traces

    with _refusing():
        loaded = traces.read_trace(trace, nodes, quotas, speeds)
    return traces.half(loaded, second=half == "second") if half else loaded


def _replay(trace: Trace, policies: Sequence[str], options: Options) -> list[Replay]:
    from gyre_sdk.cli import progress
    from services.gpu_scheduler.simulation import engine

    replays = []
    for policy in policies:
        with progress.counting(policy) as show, _refusing():
            replays.append(engine.replay(trace, policy, replace(options, progress=show)))
    return replays


def _write(replays: Sequence[Replay], trace: Trace, chart: Path | None, out: Path | None) -> None:
    from services.gpu_scheduler.simulation import charts
    from services.gpu_scheduler.simulation.outcomes import write_outcomes

    if chart:
        with _writing(chart):
            charts.write_chart(chart, replays, trace)
    if out:
        with _writing(out):
            write_outcomes(out, replays)


def _show(replays: Sequence[Replay], trace: Trace, compares: bool) -> None:
    from gyre_sdk.cli import output
    from services.gpu_scheduler.simulation.report import report_of, to_json

    reports = [report_of(replay, trace) for replay in replays]
    if OPTIONS.json:
        click.echo(to_json({"policies": reports} if compares else reports[0]))
        return
    click.echo(f"Simulated: {len(trace.jobs):,} jobs on {_capacity(replays[0])}.\n")
    titles = ["", *(str(report["policy"]).upper() for report in reports)]
    rows = ([title, *(cell(key, report, reports[0]) for report in reports)] for key, title in TITLES.items())
    output.show_table(titles, rows)


def cell(key: str, report: Report, first: Report) -> str:
    """A figure as one reads it; with its ratio to the first report's, unless it is that one."""
    text, own, other = figure(key, report[key]), report[key], first[key]
    if report is first or key == "jobs" or not isinstance(own, (int, float)) or not isinstance(other, (int, float)):
        return text
    return f"{text} ({own / other:.2f} ×)" if other else text


def figure(key: str, value: Figure) -> str:
    from gyre_sdk.cli import output

    if value is None or isinstance(value, str):
        return value or "–"
    if key in SHARES:
        return f"{value:.1%}"
    if key.endswith("_s"):
        return output.duration(value) if value >= 60 else f"{value:.3g} s"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _capacity(replay: Replay) -> str:
    return ", ".join(f"{amount:g} × {flavor}" for flavor, amount in sorted(replay.capacity.items())) or "nothing"


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with what was given is no bug of ours: two lines and exit code 2."""
    from gyre_kit.errors import Invalid

    try:
        yield
    except Invalid as error:
        raise InputError(error.reason, error.message, error.metadata.get("remedy", ""), error.metadata) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            "NOT_WRITTEN", f"{path} cannot be written: {error.strerror}.", "Give another place."
        ) from error
