"""Requests a minute, by key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.inference_gateway.proxy.errors import rate_limited


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimiter:
    """A token bucket a key: a minute's worth may come at once, then an even flow.

    Each worker grants its share of the limit (`limit / workers`): the kernel spreads connections evenly, and nothing
    has to be shared on the hot path. A client with a single connection sees its share alone.
    """

    def __init__(self, clock: Callable[[], float], workers: int = 1) -> None:
        self._clock = clock
        self._workers = workers
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str, per_minute: int) -> dict[str, str]:
        """Takes one request of `key`, and returns OpenAI's x-ratelimit headers (none where there is no limit).

        Raises: ApiError 429 with the seconds to wait.
        """
        if per_minute <= 0:
            return {}
        capacity = max(1.0, per_minute / self._workers)
        bucket = self._refilled(key, capacity)
        if bucket.tokens < 1:
            error = rate_limited(per_minute, (1 - bucket.tokens) * 60 / capacity)
            error.headers |= self._headers(per_minute, bucket, capacity)
            raise error
        bucket.tokens -= 1
        return self._headers(per_minute, bucket, capacity)

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Drops the buckets of keys that are gone."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if keep(key)}

    def _refilled(self, key: str, capacity: float) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(capacity, now))
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.filled) * capacity / 60)
        bucket.filled = now
        return bucket

    def _headers(self, per_minute: int, bucket: _Bucket, capacity: float) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(per_minute),
            "x-ratelimit-remaining-requests": str(int(bucket.tokens)),
            "x-ratelimit-reset-requests": f"{(capacity - bucket.tokens) * 60 / capacity:.1f}s",
        }
