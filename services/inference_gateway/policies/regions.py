"""Where prompts may go: which rented engines a project allows. Pure."""

from __future__ import annotations

from collections.abc import Collection

from gyre_kit.errors import Precondition

from services.inference_gateway.proxy.hardware import host_if_rented

ANYWHERE = "*"


class RegionRefused(Precondition):
    """Prompts may not go there: say its --region, or allow that one with gyre projects update PROJECT --regions eu,us"""


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
