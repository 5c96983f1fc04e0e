"""`gyre completion`."""

from __future__ import annotations

import click

from gyre_sdk.cli.base import GyreCommand


@click.command(cls=GyreCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and the names of what there is.

    Examples:
    gyre completion bash > ~/.local/share/bash-completion/completions/gyre
    gyre completion zsh > "${fpath[1]}/_gyre"
    gyre completion fish > ~/.config/fish/completions/gyre.fish
    """
    from click.shell_completion import get_completion_class

    source = get_completion_class(shell)
    assert source is not None
    click.echo(source(ctx.find_root().command, {}, "gyre", "_GYRE_COMPLETE").source())
