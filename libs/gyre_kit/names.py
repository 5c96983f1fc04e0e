"""Resource names: `projects/{p}/datasets/{slug}/versions/{n}`."""

from __future__ import annotations

import re
from typing import Final

from ulid import ULID

from gyre_kit.errors import Invalid

SLUG: Final = re.compile(r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$")


class BadName(Invalid):
    """A name must be 1 to 63 characters: lower-case letters, digits, hyphen, dot or underscore, and begin and end with a letter or digit."""


class BadParent(Invalid):
    """A parent must look like projects/{project}."""


def new_id() -> str:
    """A ULID: unique, and sorts by time of creation."""
    return str(ULID())


def slug(text: str) -> str:
    """Checks that `text` may be part of a name, and returns it. Raises: BadName."""
    if not SLUG.fullmatch(text):
        raise BadName(given=text[:80])
    return text


def project_of(name: str) -> str:
    """`acme` of `projects/acme/datasets/hotline`. Raises: BadParent."""
    parts = name.split("/")
    if len(parts) < 2 or parts[0] != "projects" or not parts[1]:
        raise BadParent(given=name[:120])
    return parts[1]


def parent_of(name: str) -> str:
    """`projects/p/datasets/d` of `projects/p/datasets/d/versions/3`."""
    return name.rsplit("/", 2)[0]


def last(name: str) -> str:
    """`3` of `projects/p/datasets/d/versions/3`."""
    return name.rsplit("/", 1)[-1]


def part(name: str, collection: str) -> str:
    """The id that follows `collection` in `name`; empty if there is none."""
    parts = name.split("/")
    return next((parts[i + 1] for i in range(0, len(parts) - 1, 2) if parts[i] == collection), "")
