"""`gyre doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from gyre_sdk.cli.base import OPTIONS, Exit, GyreCommand
from gyre_sdk.cli.platform import local_settings

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(cls=GyreCommand)
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check Python, disk, memory, ports, the home's permissions and the wheels; say what to repair.

    Exit code 1 if something stands in the way; warnings do not.

    Examples:
    gyre doctor
    GYRE_PORT_OFFSET=1000 gyre doctor
    """
    from deploy.local.doctor import examine

    checks = examine(local_settings())
    if OPTIONS.json:
        from gyre_sdk.cli.output import show_json

        show_json({"checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            mark, colour = MARKS[check.verdict]
            click.echo(f"{click.style(mark, fg=colour)} {check.name.ljust(14)} {check.detail}")
            if check.remedy:
                click.echo(f"  {click.style('Do this:', bold=True)} {check.remedy}")
    ctx.exit(Exit.FAILURE if any(check.verdict == "problem" for check in checks) else Exit.OK)
