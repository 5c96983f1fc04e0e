"""What a variant takes, and how sure it is of the expected answers: asked of the engine that will serve it.

Time to first token and single speed: PROBE_ROWS prompts, one at a time, streamed, with an empty cache. Memory: the
engine's resident set after the last answer, weights, context and buffers together. Perplexity: exp of the mean, over
the tokens of the expected answers and the token that ends each, of minus the log-probability (nats) that the engine
gives to it after the prompt and the tokens before it. The engine is made to write the expected tokens by a grammar
that allows nothing else; the log-probabilities that it reports are those from before the grammar.
"""

from __future__ import annotations

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import psutil

SECONDS = 120.0
PROBE_ROWS = 16
PERPLEXITY_ROWS = 64
LONGEST = 256  # tokens of an expected answer; what follows is left out

Row = dict[str, Any]


class Timing(NamedTuple):
    first_token: float  # seconds from the request
    rest: float  # seconds from the first token to the last
    tokens: int  # generated


def measure(base_url: str, pid: int, rows: list[Row], *, max_tokens: int, parallel: int, threads: int) -> Row:
    """The fields of CostFigures but for CPU time. `pid` is the engine's."""
    timings = [time_answer(base_url, row["messages"][:-1], max_tokens) for row in _spread(rows, PROBE_ROWS)]
    asked = _spread(rows, PERPLEXITY_ROWS)
    with ThreadPoolExecutor(parallel) as pool:
        nats = list(pool.map(lambda row: surprise(base_url, row["messages"]), asked))
    firsts = [timing.first_token * 1000 for timing in timings]
    rest = sum(timing.rest for timing in timings)
    return {
        "memory_bytes": int(psutil.Process(pid).memory_info().rss),
        "time_to_first_token_p50_ms": float(np.percentile(firsts, 50)),
        "time_to_first_token_p95_ms": float(np.percentile(firsts, 95)),
        "single_tokens_per_second": sum(max(0, timing.tokens - 1) for timing in timings) / rest if rest else 0.0,
        "perplexity": perplexity(nats),
        "perplexity_rows": len(asked),
        "threads": threads,
    }


def cpu_seconds(pid: int) -> float:
    """What the process has computed so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def time_answer(base_url: str, messages: list[dict[str, str]], max_tokens: int) -> Timing:
    body = {
        "messages": messages,
        "temperature": 0,
        "max_tokens": max_tokens,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    first, tokens = 0.0, 0
    for chunk in _stream(f"{base_url}/chat/completions", body):
        if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
            first = time.perf_counter()
        if usage := chunk.get("usage"):
            tokens = usage["completion_tokens"]
    ended = time.perf_counter()
    first = first or ended  # an answer without text
    return Timing(first - started, ended - first, tokens)


def surprise(base_url: str, messages: list[dict[str, str]]) -> list[float]:
    """Nats of each token of the last message, its end included, after the messages before it."""
    tokenize = base_url.removesuffix("/v1") + "/tokenize"
    ids = _post(tokenize, {"content": messages[-1]["content"]})["tokens"][:LONGEST]
    body = {
        "messages": messages[:-1],
        "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in ids),
        "temperature": 0,
        "max_tokens": len(ids) + 1,
        "logprobs": True,
        "top_logprobs": 1,
    }
    choice = _post(f"{base_url}/chat/completions", body)["choices"][0]
    return [-float(token["logprob"]) for token in choice["logprobs"]["content"]]


def perplexity(nats: list[list[float]]) -> float:
    """Over the tokens of all rows alike, so that a long answer counts more than a short one."""
    every = [value for row in nats for value in row]
    return math.exp(sum(every) / len(every)) if every else 0.0


def _spread(rows: list[Row], count: int) -> list[Row]:
    """At most `count` rows, evenly from first to last."""
    return [rows[index] for index in sorted(set(np.linspace(0, len(rows) - 1, count, dtype=int).tolist()))]


def _request(url: str, body: Row) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=SECONDS)


def _post(url: str, body: Row) -> Any:
    with _request(url, body) as reply:
        return json.load(reply)


def _stream(url: str, body: Row) -> Iterator[Any]:
    """The chunks of an answer as they arrive."""
    with _request(url, body) as reply:
        for line in reply:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])
