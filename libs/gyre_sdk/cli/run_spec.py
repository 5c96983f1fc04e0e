"""What `gyre runs start` and `gyre runs try` are told about a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gyre_sdk.cli.base import complete
from gyre_sdk.cli.settings import health, hyperparameters

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.run_pb2 import RunSpec

    from gyre_sdk.client import Gyre

F = TypeVar("F", bound=Callable[..., Any])
PRESETS: Final = ["quick-look", "balanced", "best"]
ASKED: Final = (
    click.option("--method", default="", help="See `gyre runs methods`. The recipe's, or SFT, unless given."),
    click.option(
        "--base",
        required=True,
        metavar="MODEL[@VERSION]",
        help="What to start from.",
        shell_complete=complete("models"),
    ),
    click.option(
        "--data", required=True, multiple=True, metavar="DATASET[@VERSION]", shell_complete=complete("datasets")
    ),
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
    click.option(
        "--preset", type=click.Choice(PRESETS), default="balanced", show_default=True, help="How much to take on."
    ),
    click.option("--seed", default=7, show_default=True, type=int),
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
    gyre: Gyre, *, method: str, base: str, data: tuple[str, ...], reward_model: str, settings: tuple[str, ...],
    rules: tuple[str, ...], recipe: str, preset: str, seed: int, queue: str, priority: int, priority_class: str,
    register_as: str = "",
) -> RunSpec:  # fmt: skip
    """Raises: UsageError for a value that cannot be meant; GyreError for a name that stands for nothing."""
    from gyre.training_scheduler.v1.run_pb2 import RunSpec

    from gyre_sdk.messages import enum_value
    from gyre_sdk.resources.training import run_spec

    try:
        return run_spec(
            method or ("UNSPECIFIED" if recipe else "SFT"),
            gyre.models.version_name(base),
            [gyre.datasets.version_name(reference) for reference in data],
            hyperparameters(settings),
            health(rules),
            reward_model=gyre.models.version_name(reward_model) if reward_model else "",
            register_as=gyre.models.name(register_as) if register_as else "",
            recipe=recipe and f"recipes/{recipe.removeprefix('recipes/')}",
            preset=enum_value(RunSpec, "preset", preset.replace("-", "_")),
            seed=seed,
            queue=queue and gyre.queues.name(queue),
            priority=priority,
            priority_class=priority_class and gyre.priority_classes.name(priority_class),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
