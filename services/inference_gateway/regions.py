"""Where prompts may go: what is own hardware, and which rented engines a project allows. Pure.

An upstream on this machine or in a private network is own hardware, and so is one whose name cannot be a public one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from gyre_kit.errors import Precondition

ANYWHERE = "*"
PRIVATE_ENDINGS = (".local", ".internal", ".localhost", ".home.arpa")  # RFC 6762, ICANN 2024, RFC 6761, RFC 8375


class RegionRefused(Precondition):
    """Prompts may not go there: say its --region, or allow that one with gyre projects update PROJECT --regions eu,us"""


def host_if_rented(upstream_url: str) -> str:
    """The host of an upstream that is not own hardware; empty for one that is, and for a replica."""
    host = urlsplit(upstream_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        is_own = "." not in host or host.endswith(PRIVATE_ENDINGS)
    else:
        is_own = not address.is_global
    return "" if is_own else host


def is_allowed(upstream_url: str, region: str, allowed: Collection[str]) -> bool:
    """`allowed`: what the project says; empty means own hardware alone."""
    if not host_if_rented(upstream_url) or ANYWHERE in allowed:
        return True
    return region != "" and region in allowed


def check(upstream_url: str, region: str, allowed: Collection[str]) -> None:
    """Raises: RegionRefused."""
    if not is_allowed(upstream_url, region, allowed):
        said = {"region": region or "unknown", "allowed": ", ".join(sorted(allowed)) or "own hardware only"}
        raise RegionRefused(upstream=host_if_rented(upstream_url), **said)
