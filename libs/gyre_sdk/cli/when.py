"""Times on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click


class When(click.ParamType[datetime]):
    """An ISO 8601 time; without a zone it is this machine's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-11-24T14:05 or 2026-11-24T14:05+01:00.", param, ctx)
