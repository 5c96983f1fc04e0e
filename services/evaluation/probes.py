"""What a variant takes, and how sure it is of the expected answers: asked of the engine that will serve it.

Time to first token and single speed: PROBE_ROWS prompts, one at a time, streamed, with an empty cache. Memory: after the
last answer, weights, context and buffers together. Perplexity: exp of the mean, over the tokens of the expected answers
and the token that ends each, of minus the log-probability (nats) that the engine gives to it after the prompt and the
tokens before it: the same quantity on every engine (`engines.py` says how each is asked).
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from services.evaluation import meters
from services.evaluation.asking import Running, stream
from services.evaluation.engines import Engine

PROBE_ROWS = 16
PERPLEXITY_ROWS = 64

Row = dict[str, Any]


class Timing(NamedTuple):
    first_token: float  # seconds from the request
    rest: float  # seconds from the first token to the last
    tokens: int  # generated


def measure(engine: Engine, at: Running, rows: list[Row], *, max_tokens: int, parallel: int) -> Row:
    """The fields of CostFigures but for those of the rows that were asked together."""
    timings = [time_answer(engine, at, row["messages"][:-1], max_tokens) for row in _spread(rows, PROBE_ROWS)]
    asked = _spread(rows, PERPLEXITY_ROWS)
    with ThreadPoolExecutor(parallel if engine.surprises_at_once else 1) as pool:
        nats = list(pool.map(lambda row: engine.surprise(at, row["messages"]), asked))
    firsts = [timing.first_token * 1000 for timing in timings]
    rest = sum(timing.rest for timing in timings)
    return {
        "memory_bytes": meters.memory_bytes(at.pid),
        "card_memory_bytes": meters.card_memory_bytes(at.pid),
        "time_to_first_token_p50_ms": float(np.percentile(firsts, 50)),
        "time_to_first_token_p95_ms": float(np.percentile(firsts, 95)),
        "single_tokens_per_second": sum(max(0, timing.tokens - 1) for timing in timings) / rest if rest else 0.0,
        "perplexity": perplexity(nats),
        "perplexity_rows": len(asked),
    }


def time_answer(engine: Engine, at: Running, messages: list[dict[str, str]], max_tokens: int) -> Timing:
    body = {
        "model": at.model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    first, tokens = 0.0, 0
    for chunk in stream(f"{at.base_url}/chat/completions", body | engine.uncached()):
        if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
            first = time.perf_counter()
        if usage := chunk.get("usage"):
            tokens = usage["completion_tokens"]
    ended = time.perf_counter()
    first = first or ended  # an answer without text
    return Timing(first - started, ended - first, tokens)


def perplexity(nats: list[list[float]]) -> float:
    """Over the tokens of all rows alike, so that a long answer counts more than a short one."""
    every = [value for row in nats for value in row]
    return math.exp(sum(every) / len(every)) if every else 0.0


def _spread(rows: list[Row], count: int) -> list[Row]:
    """At most `count` rows, evenly from first to last."""
    return [rows[index] for index in sorted(set(np.linspace(0, len(rows) - 1, count, dtype=int).tolist()))]
