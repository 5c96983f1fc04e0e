"""`gyre chat`: talk to a deployment, rate and correct its answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect

if TYPE_CHECKING:
    from gyre_sdk.client import Gyre

Message = dict[str, str]
HELP = "/up and /down rate the last answer, /fix TEXT corrects it, /new starts over, /quit leaves."


@click.command(cls=GyreCommand)
@click.argument("model", metavar="DEPLOYMENT", shell_complete=complete("deployments"))
@click.option("-m", "--message", help="Ask this and leave; `-` reads stdin.")
@click.option("--system", help="System message.")
@click.option("--temperature", type=click.FloatRange(0, 2))
@click.option("--max-tokens", type=click.IntRange(1))
def chat(
    model: str, message: str | None, system: str | None, temperature: float | None, max_tokens: int | None
) -> None:
    """Talk to a deployment; rate and correct its answers.

    Examples:
    gyre chat hotline
    gyre chat hotline -m "The street light at Elm Road is out" --temperature 0
    echo "Hello" | gyre chat hotline -m -
    """
    given = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in given.items() if value is not None}
    history: list[Message] = [{"role": "system", "content": system}] if system else []
    with connect() as gyre:
        if message is not None:
            text = sys.stdin.read() if message == "-" else message
            _ask(gyre, model, [*history, {"role": "user", "content": text}], options)
        else:
            _converse(gyre, model, history, options)


def _converse(gyre: Gyre, model: str, opening: list[Message], options: dict[str, float]) -> None:
    click.secho(f"{model}. {HELP}", dim=True)
    history, completion = list(opening), ""
    while True:
        try:
            line = click.prompt(">", prompt_suffix=" ", type=str).strip()
        except click.Abort:
            click.echo()
            return
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return
        if command == "/new":
            history, completion = list(opening), ""
        elif command in ("/up", "/down", "/fix"):
            _rate(gyre, completion, command, rest)
        elif command.startswith("/"):
            click.echo(HELP)
        else:
            history.append({"role": "user", "content": line})
            answer, completion = _ask(gyre, model, history, options)
            history.append({"role": "assistant", "content": answer})


def _ask(gyre: Gyre, model: str, history: list[Message], options: dict[str, float]) -> tuple[str, str]:
    """Prints the answer as it comes; returns it with the completion's id."""
    answer, completion, usage = "", "", None
    for piece in gyre.chat(model, history, **options):
        answer, completion, usage = answer + piece.text, piece.completion or completion, piece.usage or usage
        if not OPTIONS.json:
            click.echo(piece.text, nl=False)
    if OPTIONS.json:
        from gyre_sdk.cli.output import show_json

        show_json({"completion": completion, "answer": answer, "usage": usage})
    else:
        click.echo()
        click.secho(completion, dim=True, err=True)
    return answer, completion


def _rate(gyre: Gyre, completion: str, command: str, text: str) -> None:
    from gyre_sdk.errors import GyreError

    if not completion:
        click.echo("There is no answer yet.")
        return
    if command == "/fix" and not text:
        click.echo("/fix wants what the answer should have been.")
        return
    rating = {"/up": "THUMBS_UP"}.get(command, "THUMBS_DOWN")
    try:
        given = gyre.feedback.submit(completion, rating, correction=text if command == "/fix" else "")
    except GyreError as error:
        click.secho(error.message, fg="red")  # a conversation goes on after a refused rating
        return
    click.secho(f"Feedback #{given.number}, thank you.", dim=True)
