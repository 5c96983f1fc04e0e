"""What `gyre runs start` and `gyre runs try` are told about a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gyre_sdk.cli.base import complete
from gyre_sdk.cli.settings import health, hyperparameters
from gyre_sdk.cli.spec_file import DEFAULT_SEED, read_spec, spec_option

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.run_pb2 import RunSpec

    from gyre_sdk.client import Gyre

F = TypeVar("F", bound=Callable[..., Any])
PRESETS: Final = ["quick-look", "balanced", "best"]
ASKED: Final = (
    spec_option("RunSpec"),
    click.option("--method", default="", help="See `gyre runs methods`. The recipe's, or SFT, unless given."),
    click.option(
        "--base",
        default="",
        metavar="MODEL[@VERSION]",
        help="What to start from.",
        shell_complete=complete("models"),
    ),
    click.option("--data", multiple=True, metavar="DATASET[@VERSION]", shell_complete=complete("datasets")),
    click.option("--reward-model", default="", metavar="MODEL[@VERSION]", help="For PPO."),
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the method; repeat it."),
    click.option(
        "--health",
        "rules",
        multiple=True,
        metavar="RULE=ACTION",
        help="What follows an alarm, or its limit; repeat it.",
    ),
    click.option("--recipe", default="", help="See `gyre runs recipes`."),
    click.option("--preset", type=click.Choice(PRESETS), help="How much to take on.  [default: balanced]"),
    click.option("--seed", type=int, help=f"[default: {DEFAULT_SEED}]"),
    click.option("--queue", default="", help="Queue to wait in."),
    click.option("--priority", default=0, type=int, help="Higher goes first."),
    click.option(
        "--priority-class", default="", help="A priority that has a name.", shell_complete=complete("priority_classes")
    ),
    click.option("--title", default="", help="Free text shown to people."),
)


def spec_options(command: F) -> F:
    """Options whose values `spec_of` takes; `title` is the command's own."""
    for option in reversed(ASKED):
        command = option(command)
    return command


def spec_of(
    gyre: Gyre, *, file: Any, method: str, base: str, data: tuple[str, ...], reward_model: str,
    settings: tuple[str, ...], rules: tuple[str, ...], recipe: str, preset: str | None, seed: int | None, queue: str,
    priority: int, priority_class: str, register_as: str = "",
) -> RunSpec:  # fmt: skip
    """What the file says, and over it what the options say.

    Raises: UsageError for a value that cannot be meant; GyreError for a name that stands for nothing.
    """
    from google.protobuf import json_format
    from gyre.training_scheduler.v1.run_pb2 import RunSpec

    from gyre_sdk.messages import enum_value
    from gyre_sdk.resources.training import run_spec

    try:
        spec = json_format.ParseDict({"seed": DEFAULT_SEED} | read_spec(file), RunSpec())
        given = run_spec(
            method or ("UNSPECIFIED" if recipe or file else "SFT"),
            gyre.models.version_name(base) if base else "",
            [gyre.datasets.version_name(reference) for reference in data],
            hyperparameters(settings),
            health(rules),
            reward_model=gyre.models.version_name(reward_model) if reward_model else "",
            register_as=gyre.models.name(register_as) if register_as else "",
            recipe=recipe and f"recipes/{recipe.removeprefix('recipes/')}",
            preset=enum_value(RunSpec, "preset", preset.replace("-", "_") if preset else "UNSPECIFIED"),
            seed=seed or 0,
            queue=queue and gyre.queues.name(queue),
            priority=priority,
            priority_class=priority_class and gyre.priority_classes.name(priority_class),
        )
    except (ValueError, json_format.ParseError) as error:
        raise click.UsageError(str(error)) from error
    if data:
        del spec.datasets[:]
    spec.MergeFrom(given)
    if seed == 0:
        spec.seed = 0
    if not spec.base or not spec.datasets:
        raise click.UsageError("Say with --base what to start from and with --data what to train on, or give --spec.")
    return spec
