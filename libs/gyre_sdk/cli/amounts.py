"""What workloads ask for and quotas allow, as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def purpose(item: Any) -> str:
    """What a workload is called, or else what it was made for; its number is in a column of its own."""
    from gyre_sdk import names

    return item.display_name or (names.short(item.spec.owner) if item.spec.owner else "")


def resources_text(output: Any, resources: Any) -> str:
    """`2 cards, 4 cores, 8.6 GB`, of what there is any."""
    cards, cores = resources.gpu + resources.gpu_milli / 1000, resources.cpu_milli / 1000
    amounts = [
        f"{cards:g} card{'' if cards == 1 else 's'}" if cards else "",
        f"{cores:g} core{'' if cores == 1 else 's'}" if cores else "",
        output.size(resources.memory_bytes) if resources.memory_bytes else "",
    ]
    return ", ".join(each for each in amounts if each) or "nothing"


def quota_text(output: Any, quota: Any) -> str:
    """What is used of a flavor and, where there is any, what of that is borrowed, and the limits of both ways."""
    from gyre_sdk import names

    text = f"{names.short(quota.flavor)}: {', '.join(_used(output, quota)) or 'nothing'}"
    if over := max(0, quota.used.gpu - quota.nominal.gpu):
        text += f"; {over} card{'' if over == 1 else 's'} borrowed"
    if quota.HasField("borrowing_limit"):
        text += f"; borrows at most {resources_text(output, quota.borrowing_limit)}"
    if quota.HasField("lending_limit"):
        text += f"; lends at most {resources_text(output, quota.lending_limit)}"
    return text


def _used(output: Any, quota: Any) -> Iterator[str]:
    """`1 of 2 cards`, kind by kind."""
    used, has = quota.used, quota.nominal
    if used.gpu or used.gpu_milli or has.gpu:
        yield f"{used.gpu + used.gpu_milli / 1000:g} of {has.gpu} card{'' if has.gpu == 1 else 's'}"
    if used.cpu_milli or has.cpu_milli:
        yield f"{used.cpu_milli / 1000:g} of {has.cpu_milli / 1000:g} core{'' if has.cpu_milli == 1000 else 's'}"
    if used.memory_bytes or has.memory_bytes:
        yield f"{output.size(used.memory_bytes)} of {output.size(has.memory_bytes)}"
