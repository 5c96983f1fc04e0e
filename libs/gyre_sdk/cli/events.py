"""`gyre events`."""

from __future__ import annotations

import fnmatch
import json
import time
from collections.abc import Mapping

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, connect

RETRY_SECONDS = 1.0


@click.command(cls=GyreCommand)
@click.option("--type", "pattern", default="*", help="Only types like this, for instance '*Run*' or 'VersionReady'.")
@click.option("--subject", default="", help="Only about names that begin like this.")
@click.option("-n", "--count", default=0, type=click.IntRange(0), help="Leave after so many; 0 stays.")
def events(pattern: str, subject: str, count: int) -> None:
    """Follow the platform's facts as they happen, from now on: all topics, of the projects that your key may see.

    They never hold a prompt or an answer. With --json one object a line: type, subject, time, data.

    Examples:
    gyre events
    gyre events --type '*Workload*'
    gyre events --json | jq -r '[.type, .subject] | @tsv'
    """
    from gyre_sdk.errors import GyreError

    seen, known = 0, Known()
    with connect() as gyre:
        while True:
            try:
                for event in gyre.events():
                    if _wanted(event["type"], event["subject"], pattern, subject) and known.is_new(event):
                        _print(event)
                        seen += 1
                    if count and seen >= count:
                        return
            except GyreError as error:
                if not error.unavailable or not seen:
                    raise  # it never worked; after that, a restart of the gateway is waited for
            time.sleep(RETRY_SECONDS)


class Known:
    """Remembers the last facts: delivery is at least once, and a broker that lost its memory gets all of them again."""

    def __init__(self, size: int = 10_000) -> None:
        self._seen: dict[str, None] = {}
        self._size = size

    def is_new(self, event: Mapping[str, object]) -> bool:
        key = str(event["id"])
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > self._size:
            del self._seen[next(iter(self._seen))]
        return True


def _wanted(kind: str, about: str, pattern: str, subject: str) -> bool:
    short = kind.rsplit(".", 1)[-1]
    return (fnmatch.fnmatch(short, pattern) or fnmatch.fnmatch(kind, pattern)) and about.startswith(subject)


def _print(event: dict[str, object]) -> None:
    if OPTIONS.json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    component, _, kind = str(event["type"]).removeprefix("gyre.").partition(".v1.")
    facts = " ".join(f"{key}={value}" for key, value in event["data"].items() if value and key != "name")  # type: ignore[attr-defined]
    head = f"{event['time']} {click.style(component, fg='cyan')} {click.style(kind, bold=True)}"
    click.echo(f"{head} {event['subject']} {click.style(facts, dim=True)}")
