"""`gyre`: the table of commands, and how errors become sentences and exit codes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Final

import click

from gyre_sdk.cli.base import EXIT_CODES, OPTIONS, Exit, GyreGroup, common_options
from gyre_sdk.errors import GyreError, InputError

# command → (module:attribute, help), in the order of `gyre --help`. Modules load when their command is used.
SECTIONS: Final = {
    "Platform": {
        "up": ("platform:up", "Start everything on this machine and return when it is ready."),
        "down": ("platform:down", "Stop everything, running work included."),
        "status": ("platform:status", "Health, addresses and memory of every part."),
        "logs": ("platform:logs", "What the parts of the platform print."),
        "doctor": ("doctor:doctor", "Check that this machine can run Gyre, and say what to repair."),
        "demo": ("demo:demo", "The whole loop on a real model: two laps, and a table of what they gained."),
    },
    "The loop": {
        "datasets": ("datasets:datasets", "Import, inspect and delete data."),
        "runs": ("runs:runs", "Train, watch and cancel."),
        "pipelines": ("pipelines:pipelines", "Laps of the loop: train, evaluate, gate, promote, shift traffic."),
        "models": ("models:models", "Import, quantise, alias and trace models."),
        "evals": ("evals:evals", "Suites, evaluations and verdicts."),
        "deployments": ("deployments:deployments", "Serve models, split and shift traffic."),
        "experiments": ("experiments:experiments", "Compare two targets on live traffic."),
        "prompts": ("prompts:prompts", "Prompts with versions, which requests name."),
        "traces": ("traces:traces", "Find, read and delete what was asked and answered."),
        "batches": ("batches:batches", "Ask a deployment about a whole data set version."),
        "feedback": ("feedback:feedback", "Submit, review and batch what people say about answers."),
        "chat": ("chat:chat", "Talk to a deployment; rate and correct its answers."),
    },
    "Operations": {
        "queues": ("capacity:queues", "A project's queues."),
        "cluster-queues": (
            "cluster_queues:cluster_queues",
            "Quotas that queues of projects share, and who may displace whom.",
        ),
        "cohorts": ("cluster_queues:cohorts", "Cluster queues that lend to one another."),
        "priority-classes": ("priority_classes:priority_classes", "Priorities that have a name."),
        "workloads": ("capacity:workloads", "What runs, what waits and why."),
        "simulate": ("simulate:simulate", "Replay a trace of jobs under a policy, or compare policies on it."),
        "what-if": ("what_if:what_if", "What more nodes would have changed, or fewer, by replaying the last days."),
        "nodes": ("nodes:nodes", "Machines and cards: look, label, cordon, drain."),
        "cards": ("nodes:cards", "What is known of each model of card."),
        "flavors": ("nodes:flavors", "Kinds of resources, and what they cost."),
        "top": ("top:top", "Nodes, cards, queues and workloads as they are now."),
        "usage": ("usage:usage", "Who held what of own machines, and what that cost."),
        "efficiency": ("efficiency:efficiency", "How well own machines were used, by flavor or by node."),
        "costs": ("costs:costs", "Usage, money, own machines, and whether to rent or own."),
        "events": ("events:events", "Follow the platform's facts as they happen."),
        "projects": ("identity:projects", "Projects, and whether they keep completions."),
        "policy": ("prompts:policy", "Guardrails and the exact cache of a project."),
        "licences": ("licences:licences", "What data and bases ask of everything made from them."),
        "keys": ("identity:keys", "API keys."),
        "completion": ("completion:completion", "Print the shell completion script."),
    },
}
LISTED: Final = {
    "cards": "nodes list",
    "clusterQueues": "cluster-queues list",
    "evaluations": "evals list",
    "inferenceBatches": "batches list",
    "priorityClasses": "priority-classes list",
    "suites": "evals suites",
    "verdicts": "evals verdicts",
}  # not by their own name
COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(GyreGroup):
    """Knows its commands by the table above, so that help costs no imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"gyre_sdk.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), text) for code, text in EXIT_CODES.items()])


@click.group(cls=LazyGroup, invoke_without_command=False)
@click.option("--url", help="Where Gyre's REST answers. [GYRE_URL, default the Gyre of this machine]")
@click.option("--home", help="Folder with the state of this machine's Gyre. [GYRE_HOME, default ./.gyre]")
@common_options
@click.version_option(package_name="gyre", prog_name="gyre")
def cli(url: str | None, home: str | None) -> None:
    """Gyre turns what people say about a model's answers into a better model, on hardware you own.

    \b
    gyre up                       start the platform here
    gyre demo                     see the whole loop on a real model
    gyre status                   what runs, and where
    gyre COMMAND --help           examples of each command
    """
    OPTIONS.url = url or OPTIONS.url
    if home:
        os.environ["GYRE_HOME"] = home


def run(arguments: list[str] | None = None) -> int:
    """Runs one command line; returns its exit code, having printed errors to stderr."""
    OPTIONS.reset()
    try:
        code = cli.main(arguments, prog_name="gyre", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        return _complain_usage(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone: no second complaint
        return 0
    except GyreError as error:
        return _complain(error)


def _complain_usage(error: click.ClickException) -> int:
    if OPTIONS.json:
        _print_error(0, "USAGE" if error.exit_code == Exit.USAGE else "FAILED", error.format_message(), "")
    else:
        error.show()
    return error.exit_code


def _complain(error: GyreError) -> int:
    """Two lines: what is wrong, what to do. Any other exception is a bug and keeps its traceback."""
    _print_error(error.status, error.reason, error.message, error.remedy or _where_to_look(error))
    if isinstance(error, InputError):
        return Exit.USAGE
    if error.unavailable:
        return Exit.UNAVAILABLE
    if error.refused_by_gate:
        return Exit.REFUSED
    return Exit.NOT_FOUND if error.not_found else Exit.FAILURE


def _where_to_look(error: GyreError) -> str:
    """What shows the names that there are, where one was asked for that is not, and the message does not say so."""
    if not error.not_found or "`gyre " in error.message:
        return ""
    kind = "/".join(error.metadata.get("name", "").split("/")[-2:-1])  # `runs` of projects/p/runs/7
    command = LISTED.get(kind, f"{kind} list" if kind in COMMANDS else "")
    return command and f"`gyre {command}` shows what there is."


def _print_error(status: int, reason: str, message: str, remedy: str) -> None:
    if OPTIONS.json:
        body = {"status": status, "reason": reason, "message": message, "remedy": remedy}
        click.echo(json.dumps({"error": body}), err=True)
        return
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {message}", err=True)
    if remedy:
        click.echo(f"{click.style('Do this:', bold=True)} {remedy}", err=True)
