"""`gyre up`, `down`, `status` and `logs`: the platform on this machine."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, Exit, GyreCommand, connect

if TYPE_CHECKING:
    from deploy.local.settings import RuntimeSettings
    from deploy.local.state import RuntimeState
    from deploy.local.status import PartStatus

SERVING = ("SERVING", "EXTERNAL")
FOLLOW_SECONDS = 0.2


@click.command(cls=GyreCommand)
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible engine that already runs, for example with /v1.")
@click.option("--upstream-model", metavar="MODEL", help="The model's name there. [default: the first that it lists]")
@click.option("--deployment", metavar="NAME", help="Name under which --upstream is served. [default: its model's name]")
@click.option("--upstream-key-ref", metavar="SETTING", help="Variable with its key: GYRE_UPSTREAM_KEY…")
@click.option("--upstream-region", help="Where a rented engine computes, for example eu.")
@click.option("--processes", type=click.Choice(["1", "8"]), help="1: all services in one process. [default 8]")
@click.option("--timeout", type=float, help="Seconds to wait until all is ready. [default 90]")
@click.option("--foreground", is_flag=True, help="Stay, print what happens, stop everything at Ctrl-C.")
def up(
    upstream: str | None,
    upstream_model: str | None,
    deployment: str | None,
    upstream_key_ref: str | None,
    upstream_region: str | None,
    processes: str | None,
    timeout: float | None,
    foreground: bool,
) -> None:
    """Start database, broker and services, and return when all of them are ready. Doing it twice changes nothing.

    What dies is started again. State lies in GYRE_HOME (default ./.gyre); GYRE_PORT_OFFSET moves every port.

    Examples:
    gyre up
    gyre up --upstream http://127.0.0.1:8001/v1
    GYRE_HOME=/srv/gyre gyre up --foreground
    """
    from deploy.local import control

    settings = local_settings(
        upstream_url=upstream,
        upstream_model=upstream_model,
        upstream_deployment=deployment,
        upstream_key_ref=upstream_key_ref,
        upstream_region=upstream_region,
        start_timeout_seconds=timeout,
        processes=int(processes) if processes else None,
    )
    if foreground:
        control.run_in_foreground(settings)
        return
    state = _start(settings.model_copy(update={"upstream_url": ""}))  # it is attached from here, once
    if settings.upstream_url:
        attach_upstream(settings)
    _say_ready(settings, state)


def _start(settings: RuntimeSettings) -> RuntimeState:
    from deploy.local import control
    from gyre_sdk.cli.progress import stderr

    began, out = time.monotonic(), stderr()
    try:
        if OPTIONS.json or not out.is_terminal:
            return control.up(settings, lambda state: None)
        with out.status("starting") as spinner:
            return control.up(settings, lambda state: spinner.update(_progress(state, time.monotonic() - began)))
    except control.StartFailed as error:
        raise click.ClickException(str(error)) from error


def _progress(state: RuntimeState, seconds: float) -> str:
    waiting = [name for name, child in state.children.items() if child.phase != "READY"]
    ready = len(state.children) - len(waiting)
    return f"{ready} of {len(state.children) or 10} ready after {seconds:.0f} s; waiting for {', '.join(waiting)}"


def _say_ready(settings: RuntimeSettings, state: RuntimeState) -> None:
    from deploy.local.status import public_addresses

    addresses = public_addresses(settings)
    if OPTIONS.json:
        from gyre_sdk.cli.output import show_json

        show_json({"state": str(state.phase), "home": state.home, "version": state.version, "addresses": addresses})
        return
    click.secho(f"Gyre is up (started in {max(0.0, state.ready_at - state.started_at):.1f} s).", fg="green")
    click.echo(f"  console  {addresses['console']}")
    click.echo(f"  OpenAI   {addresses['openai']}")
    click.echo(f"  key      {settings.admin_key_file}")


def attach_upstream(settings: RuntimeSettings) -> None:
    """Makes the deployment that serves the engine at `upstream_url`, or points an existing one to it.

    Raises: GyreError.
    """
    from gyre.inference_gateway.v1.deployment_pb2 import ENGINE_OPENAI

    from gyre_sdk.errors import GyreError
    from gyre_sdk.resources.serving import target

    model = settings.upstream_model or _first_model(settings.upstream_url)
    name = settings.upstream_deployment or deployment_id(model)
    wanted = target(
        engine=ENGINE_OPENAI,
        upstream_url=settings.upstream_url,
        upstream_model=model,
        upstream_key_ref=settings.upstream_key_ref,
        region=settings.upstream_region,
    )
    with connect() as gyre:
        try:
            found = gyre.deployments.get(name)
            if not any(_is_same(existing, wanted) for existing in found.targets):
                gyre.deployments.shift(found.name, [wanted])
        except GyreError as error:
            if not error.not_found:
                raise
            gyre.deployments.create(name, [wanted])
        gyre.deployments.wait_ready(name, timeout=60)
        keeps = gyre.projects.get(gyre.config.project).consent_to_keep
    if not OPTIONS.json:
        click.echo(f"{settings.upstream_url} is served as model {click.style(name, bold=True)}.")
        if not keeps:
            click.echo(f"To keep its answers for feedback: gyre projects update {gyre.config.project} --keep")


def _is_same(existing: Any, wanted: Any) -> bool:
    return (existing.upstream_url, existing.upstream_model, existing.upstream_key_ref) == (
        wanted.upstream_url,
        wanted.upstream_model,
        wanted.upstream_key_ref,
    )


def _first_model(url: str) -> str:
    """Asks the engine what it serves. Raises: ClickException."""
    import httpx

    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=5.0).raise_for_status()
        return str(response.json()["data"][0]["id"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise click.ClickException(
            f"{url}/models names no model ({error}). Check the URL (it usually ends in /v1), "
            "or name the model with --upstream-model."
        ) from error


def deployment_id(model: str) -> str:
    """A deployment's name from a model's: `Qwen/Qwen3-0.6B` → `qwen-qwen3-0.6b`."""
    return re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-.")[:63].strip("-.") or "upstream"


@click.command(cls=GyreCommand)
def down() -> None:
    """Stop services, running work, broker and database. Trainers checkpoint first; the next `gyre up` goes on.

    Examples:
    gyre down
    """
    from deploy.local import control

    stopped = control.down(local_settings())
    if OPTIONS.json:
        from gyre_sdk.cli.output import show_json

        show_json({"stopped": stopped.anything, "workloads": stopped.workloads, "left_over": stopped.left_over})
        return
    if not stopped.anything:
        click.echo("Nothing was running.")
        return
    work = f", and running work with it ({stopped.workloads})" if stopped.workloads else ""
    left = "" if stopped.supervisor else f" ({stopped.left_over} processes that a killed supervisor had left)"
    click.echo(f"Gyre is down{work}{left}.")


@click.command(cls=GyreCommand)
@click.pass_context
def status(ctx: click.Context) -> None:
    """Health, version, pid, memory (PSS) and addresses of every part. Exit code 5 unless everything serves.

    Examples:
    gyre status
    gyre status --json | jq '.services[] | select(.health != "SERVING")'
    """
    from deploy.local.status import platform
    from gyre_sdk.cli import output

    report = platform(local_settings())
    parts = [*report.services, report.postgres, report.broker, report.supervisor]
    if OPTIONS.json:
        output.show_json(report.to_json())
    else:
        titles = ["NAME", "HEALTH", "PID", "MEMORY", "UPTIME", "RESTARTS", "ADDRESS"]
        output.show_table(titles, [_row(part) for part in parts])
        click.echo(f"\n{report.state}, version {report.version or '-'}, {output.size(report.memory_bytes)} in all")
        work = report.workloads
        if work["processes"]:
            click.echo(f"Work: {work['processes']} processes, {output.size(work['memory_bytes'])} besides.")
        click.echo(f"Home: {report.home}")
        _say_what_to_do(report.state, parts)
    ctx.exit(Exit.OK if all(part.health in SERVING for part in parts) else Exit.UNAVAILABLE)


def _row(part: PartStatus) -> list[Any]:
    from gyre_sdk.cli import output

    return [
        part.name,
        output.coloured(part.health),
        str(part.pid or ""),
        output.size(part.memory_bytes) if part.memory_bytes else "",
        output.duration(part.uptime_seconds) if part.pid else "",
        f"{part.restarts} (it {part.last_exit})" if part.restarts else "0" if part.pid else "",
        " ".join(address for name, address in part.addresses.items() if name not in ("metrics", "rest")),
    ]


def _say_what_to_do(state: str, parts: list[PartStatus]) -> None:
    if state == "DOWN":
        click.echo("Start it with `gyre up`.")
    elif state == "UNSUPERVISED":
        click.echo("The supervisor was killed: what dies now stays dead. `gyre up` takes over.")
    else:
        for part in parts:
            if part.health not in SERVING:
                click.echo(f"`gyre logs {part.name}` says why {part.name} is {part.health}.")


@click.command(cls=GyreCommand)
@click.argument("names", nargs=-1)
@click.option("-n", "--lines", default=100, show_default=True, type=click.IntRange(0), help="The last so many of each.")
@click.option("-f", "--follow", is_flag=True, help="Stay, and print what comes.")
def logs(names: tuple[str, ...], lines: int, follow: bool) -> None:
    """What the parts of the platform print: the eight services, postgres, broker, supervisor. All without a name.

    Logs of training and other work: `gyre runs logs`, `gyre workloads logs`. With --json each line as it is.

    Examples:
    gyre logs
    gyre logs training_scheduler gpu_scheduler -f
    gyre logs postgres -n 20
    """
    from deploy.local import logs as files

    settings = local_settings()
    known = sorted(path.stem for path in settings.logs_folder.glob("*.log"))
    for name in names:
        if name not in known:
            raise click.ClickException(f"There is no log of {name!r}. There are: {', '.join(known) or 'none yet'}.")
    chosen = list(names) or known
    positions = {}
    for name in chosen:
        path = settings.log_file(name)
        positions[name] = path.stat().st_size
        for line in files.tail(path, lines):
            _print_line(name, line, prefix=len(chosen) > 1)
    while follow:
        for name in chosen:
            new, positions[name] = files.follow(settings.log_file(name), positions[name])
            for line in new:
                _print_line(name, line, prefix=len(chosen) > 1)
        time.sleep(FOLLOW_SECONDS)


def _print_line(name: str, line: str, prefix: bool) -> None:
    text = line if OPTIONS.json else readable(line)
    click.echo(f"{click.style(name, fg='cyan')} {text}" if prefix and not OPTIONS.json else text)


def readable(line: str) -> str:
    """One JSON log line as `time LEVEL message key=value`; any other line as it is."""
    import json

    try:
        record = json.loads(line)
        head = [record.pop(key) for key in ("time", "level", "message")]
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    colour = {"ERROR": "red", "WARNING": "yellow"}.get(head[1])
    rest = " ".join(f"{key}={value}" for key, value in record.items() if value not in ("", None))
    return f"{head[0]} {click.style(head[1], fg=colour)} {head[2]} {click.style(rest, dim=True)}".rstrip()


def local_settings(**given: Any) -> RuntimeSettings:
    """The runtime's settings, with what the command line gave in place of the environment's."""
    from pydantic import ValidationError

    from deploy.local.settings import RuntimeSettings

    try:
        return RuntimeSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(
            f"GYRE_{str(first['loc'][0]).upper()}: {first['msg']} (given {first['input']!r})"
        ) from error
