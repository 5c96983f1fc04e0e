"""`gyre deployments`: serve models, split and shift traffic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli import replicas
from gyre_sdk.cli.adapters import adapters
from gyre_sdk.cli.base import OPTIONS, Exit, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made, showing
from gyre_sdk.cli.limits import Dollars
from gyre_sdk.cli.traffic import fallbacks, shadow

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.deployment_pb2 import Deployment
    from gyre.inference_gateway.v1.deployment_service_pb2 import TargetSpec
    from gyre.inference_gateway.v1.rollout_pb2 import Rollout, Share

    from gyre_sdk.client import Gyre

MEASURES = ("errors", "latency", "feedback")
COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("TRAFFIC", lambda o: lambda item: _split(item)),
    ("REPLICAS", lambda o: lambda item: _replicas(item)),
    ("FOLLOWS", lambda o: o.short("alias")),
    ("UPDATED", lambda o: o.age("update_time")),
    ("WHY", lambda o: o.text("failure_message")),
]
ROLLOUT_COLUMNS: Columns = [
    ("#", lambda o: lambda item: item.name.rpartition("/")[2]),
    ("STATE", lambda o: o.state()),
    ("FROM", lambda o: lambda item: _shares(item.before)),
    ("TO", lambda o: lambda item: _shares(item.after)),
    ("STEPS", lambda o: lambda item: ", ".join(f"{step} %" for step in item.steps)),
    ("BEGAN", lambda o: o.age("create_time")),
    ("BY", lambda o: o.short("created_by")),
    ("WHY", lambda o: o.text("failure_message")),
]


@click.group(cls=GyreGroup)
def deployments() -> None:
    """Serve models, split and shift traffic. A deployment's name is the `model` of the OpenAI endpoint."""


deployments.add_command(listing("deployments", lambda gyre: gyre.deployments, COLUMNS, "List the deployments."))
deployments.add_command(showing("DEPLOYMENT", lambda gyre: gyre.deployments, "deployments", "Show one deployment."))
deployments.add_command(shadow)
deployments.add_command(fallbacks)
deployments.add_command(adapters)


for command in (replicas.scale, replicas.replicas, replicas.logs):
    deployments.add_command(command)


@deployments.command()
@click.argument("name")
@click.option("--variant", metavar="MODEL@VERSION:VARIANT", help="What to serve.", shell_complete=complete("models"))
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible engine that already runs.")
@click.option("--upstream-model", default="", help="The model's name there.")
@click.option("--upstream-key-ref", default="", metavar="SETTING", help="Variable with its key: GYRE_UPSTREAM_KEY…")
@click.option("--input-usd", type=Dollars(), default=0, help="What a million tokens of prompts cost there.")
@click.option("--output-usd", type=Dollars(), default=0, help="What a million tokens of answers cost there.")
@click.option("--places", default=0, type=click.IntRange(0), help="Requests that it computes at once; 0: not known.")
@click.option("--region", default="", help="Where a rented engine computes, for example eu; empty for own hardware.")
@click.option("--alias", default="", metavar="MODEL/ALIAS", help="Follow an alias wherever it moves.")
@click.option(
    "--min", "least", default=1, show_default=True, type=click.IntRange(0, 64), help="Replicas; 0: it may sleep."
)
@click.option("--max", "most", type=click.IntRange(1, 64), help="Replicas at most; the same as --min, if left out.")
@click.option("--queue", default="", help="Queue of its replicas.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def create(
    name: str, variant: str | None, upstream: str | None, upstream_model: str, upstream_key_ref: str,
    input_usd: int, output_usd: int, places: int, region: str, alias: str, least: int, most: int | None, queue: str,
    wait: bool,
) -> None:  # fmt: skip
    """Serve a variant, an alias, or an engine that already runs.

    Examples:
    gyre deployments create hotline --variant hotline-bot@1:q8-0
    gyre deployments create gpt --upstream http://127.0.0.1:8001/v1 --upstream-model qwen3
    """
    from gyre_sdk.resources.serving import scale, target

    if sum(map(bool, (variant, upstream, alias))) != 1:
        raise click.UsageError("Give one of --variant, --upstream and --alias.")
    with connect() as gyre:
        targets: list[TargetSpec] = []
        if variant:
            targets = [target(gyre.models.variant_name(variant))]
        elif upstream:
            fields: dict[str, Any] = {"upstream_model": upstream_model, "upstream_key_ref": upstream_key_ref}
            fields |= {"input_price_microusd": input_usd, "output_price_microusd": output_usd, "places": places}
            fields["region"] = region
            targets = [target(upstream_url=upstream, **fields)]
        followed = f"{gyre.models.name(alias.partition('/')[0])}/aliases/{alias.partition('/')[2]}" if alias else ""
        bounds = scale(least, most or max(1, least))
        queue = queue and gyre.queues.name(queue)
        deployment = gyre.deployments.create(name, targets, alias=followed, queue=queue, scale=bounds)
        _show(gyre, deployment, wait)


@deployments.command()
@click.argument("name", shell_complete=complete("deployments"))
@click.argument("shares", nargs=-1, required=True, metavar="MODEL@VERSION:VARIANT=PERCENT...")
@click.option("--steps", default="100", show_default=True, metavar="5,25,100", help="Per cents of the way, one by one.")
@click.option(
    "--step-seconds", default=60.0, show_default=True, type=click.FloatRange(0), help="A step is held so long."
)
@click.option("--watch", default=",".join(MEASURES), show_default=True, help="Roll back by itself on these; or none.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def shift(name: str, shares: tuple[str, ...], steps: str, step_seconds: float, watch: str, wait: bool) -> None:
    """Set the whole traffic split; what is left out stands by for a while, then drains. The shares sum to 100.

    While steps are held, the new version is compared with the one before: if more of its answers fail, are slow or are
    disliked, the traffic goes back by itself. Exit code 4 says that it did.

    Examples:
    gyre deployments shift hotline hotline-bot@2:q8-0=100 --steps 5,25,100 --step-seconds 300
    gyre deployments shift hotline hotline-bot@1:q8-0=90 hotline-bot@2:q8-0=10
    """
    from gyre_sdk import messages
    from gyre_sdk.resources.serving import target

    parsed = [_share(term) for term in shares]
    going, watched = _steps(steps), _measures(watch)
    with connect() as gyre:
        targets = [target(gyre.models.variant_name(variant), weight) for variant, weight in parsed]
        deployment = gyre.deployments.shift(name, targets, steps=going, step_seconds=step_seconds, watch=watched)
        rollout = _follow(gyre, deployment, wait)
    if messages.enum_name(rollout, "state") == "ROLLED_BACK":
        click.secho(f"Rolled back: {rollout.failure_message}", fg="red", err=True)
        raise click.exceptions.Exit(Exit.REFUSED)


@deployments.command()
@click.argument("name", shell_complete=complete("deployments"))
@click.option("-m", "--message", default="", help="Why, for those who look at it later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def rollback(name: str, message: str, yes: bool, wait: bool) -> None:
    """Take back the rollout on the way, or else the newest one: in force at once where the old target stands by still.

    Sessions that began on what is taken back move to what was there before.

    Examples:
    gyre deployments rollback hotline -m "answers in French"
    """
    if not yes:
        click.confirm(f"Roll {name} back to the split before?", abort=True, err=True)
    with connect() as gyre:
        _follow(gyre, gyre.deployments.roll_back(name, message), wait)


@deployments.command()
@click.argument("name", shell_complete=complete("deployments"))
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
def rollouts(name: str, limit: int) -> None:
    """How the split of a deployment changed, newest first."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        page = gyre.deployments.rollouts(name, page_size=limit)
    output.show_items("rollouts", page.items, made(ROLLOUT_COLUMNS), page.total_size)


@deployments.command()
@click.argument("name", shell_complete=complete("deployments"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Drain and stop a deployment."""
    if not yes:
        click.confirm(f"Delete {name}? Its users get 404 from now on.", abort=True, err=True)
    with connect() as gyre:
        gyre.deployments.delete(name)
    click.echo(f"{name} is deleted.", err=True)


def _show(gyre: Gyre, deployment: Deployment, wait: bool) -> None:
    from gyre_sdk import names
    from gyre_sdk.cli import output, progress

    if wait:
        with progress.Watching(lambda item: f"{progress.by_state(item)}: {_split(item)}") as watching:
            deployment = gyre.deployments.wait_ready(deployment.name, on_update=watching)
    if OPTIONS.json or not wait:
        output.show_item(deployment)
        return
    short = names.short(deployment.name)
    click.secho(f"{short} is ready: {_split(deployment)}", fg="green")
    click.echo(f"Ask it: gyre chat {short}, or model {short!r} at {gyre.config.openai_url}")


def _follow(gyre: Gyre, deployment: Deployment, wait: bool) -> Rollout:
    """A change of the split until it is in force, or taken back."""
    from gyre_sdk.cli import output, progress

    rollout = deployment.rollout
    if wait:
        with progress.Watching(_rollout_line, lambda item: _percent(item) / 100) as watching:
            rollout = gyre.deployments.wait_rollout(rollout.name, on_update=watching)
        deployment = gyre.deployments.get(deployment.name)
    if OPTIONS.json or not wait:
        output.show_item(deployment)
    else:
        click.secho(f"In force: {_split(deployment)}", fg="green")
    return rollout


def _rollout_line(rollout: Rollout) -> str:
    from gyre_sdk import messages

    state = messages.enum_name(rollout, "state")
    if state == "RUNNING" and not rollout.history:
        return "new targets come up"
    return f"{state} · {_percent(rollout)} % of the way" if state == "RUNNING" else state


def _percent(rollout: Rollout) -> int:
    return rollout.history[-1].percent if rollout.history else 0


def _shares(shares: Iterable[Share]) -> str:
    from gyre_sdk import names

    parts = (f"{names.short(each.variant) or each.upstream_model} {each.weight_percent} %" for each in shares)
    return ", ".join(parts) or "nothing"


def _steps(given: str) -> list[int]:
    try:
        return [int(step) for step in given.split(",")]
    except ValueError:
        raise click.UsageError(f"--steps are per cents like 5,25,100, not {given!r}.") from None


def _measures(given: str) -> list[str]:
    measures = [] if given == "none" else given.split(",")
    if wrong := [measure for measure in measures if measure not in MEASURES]:
        raise click.UsageError(f"--watch knows {', '.join(MEASURES)} and none, not {wrong[0]!r}.")
    return measures


def _split(deployment: Deployment) -> str:
    """`bot@1:q8-0 90 %, bot@2:q8-0 10 % (STARTING)`."""
    from gyre_sdk import messages, names

    parts = []
    for item in deployment.targets:
        state = messages.enum_name(item, "state")
        what = names.short(item.variant) if item.variant else f"{item.upstream_model} at {item.upstream_url}"
        share = f"shadow {item.shadow_percent} %" if item.shadow_percent else f"{item.weight_percent} %"
        parts.append(f"{what} {share}" + ("" if state == "READY" else f" ({state})"))
    return ", ".join(parts)


def _replicas(deployment: Deployment) -> str:
    """`2 of 3`, as many as are ready of all that there should be; `asleep`."""
    from gyre_sdk import messages

    wanted = sum(each.replicas for each in deployment.targets)
    if wanted:
        return f"{sum(each.ready_replicas for each in deployment.targets)} of {wanted}"
    return "asleep" if any(messages.enum_name(each, "state") == "ASLEEP" for each in deployment.targets) else ""


def _share(term: str) -> tuple[str, int]:
    variant, _, percent = term.rpartition("=")
    if not variant or not percent.isdigit():
        raise click.UsageError(f"A share is MODEL@VERSION:VARIANT=PERCENT, not {term!r}.")
    return variant, int(percent)
