"""What the ends of an attempt's members come to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.gpu_scheduler.launchers.base import Ended


@dataclass(frozen=True)
class MemberEnd:
    """How one member ended, and when (Unix seconds; 0 where nobody saw it)."""

    ended: Ended
    end_time: float = 0.0


def is_doomed(ends: Mapping[int, MemberEnd], lost: Sequence[str]) -> bool:
    """A member failed, or its node went: the others wait for it in vain, and must be ended."""
    return bool(lost) or any(end.ended.code != 0 for end in ends.values())


def together(ends: Mapping[int, MemberEnd], lost_node: str) -> Ended:
    """How an attempt ended of which no member runs any more. The first that failed tells how, the others were killed."""
    cpu_seconds = sum(end.ended.cpu_seconds for end in ends.values())
    peak = sum(end.ended.peak_memory_bytes for end in ends.values())
    failed = sorted((end.end_time or float("inf"), rank) for rank, end in ends.items() if end.ended.code != 0)
    if lost_node:
        return Ended(None, cpu_seconds, peak, lost_node=lost_node)
    if not failed:
        return Ended(0, cpu_seconds, peak)
    first = ends[failed[0][1]].ended
    words = f"rank {failed[0][1]}: {first.last_words}" if len(ends) > 1 and first.last_words else first.last_words
    return Ended(first.code, cpu_seconds, peak, asked_to_stop=first.asked_to_stop, last_words=words)
