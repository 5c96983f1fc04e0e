"""One evaluation as a job of its own: `python -m services.evaluation.work SPEC`.

What is judged is what is served: it starts the very program that a replica runs, asks it the held-out rows over HTTP,
scores each answer and leaves results.parquet in the object store and result.json beside the spec, last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gyre_kit.storage import ObjectStore, digest_of, digest_of_file, key_of
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.evaluation import meters, probes, scoring
from services.evaluation.asking import Running, post
from services.evaluation.child import Child
from services.evaluation.engines import ENGINES

log = logging.getLogger("evaluation.work")
EXIT_BAD_SPEC = 64
PROGRESS_EVERY = 25  # rows


class Spec(BaseModel):
    """What to measure on what. Fields that the launcher adds for other kinds of work are passed over."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    object_store: str
    engine: Literal["LLAMA_CPP", "VLLM"] = "LLAMA_CPP"
    python: str = Field("", description="Of vLLM's environment.")
    cards: int = Field(0, ge=0, description="That the engine computes on.")
    model_uri: str
    model_digest: str = ""
    rows_uri: str
    rows_digest: str = ""
    slices: list[str] = Field(default_factory=list)
    scorer: dict[str, Any]
    max_tokens: int = Field(128, ge=1)
    max_rows: int = Field(0, ge=0)
    parallel: int = Field(8, ge=1, le=64)
    threads: int = Field(1, ge=1)
    context_size: int = Field(1024, ge=64)
    measure_cost: bool = False
    output_prefix: str

    @property
    def answer_tokens(self) -> int:
        """llama.cpp ends an answer where its context is full; vLLM refuses to be asked for more."""
        return min(self.max_tokens, self.context_size)


class BadSpec(Exception):
    """Trying again changes nothing."""


def main(argv: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    spec_file = Path(argv[1])
    try:
        spec = Spec.model_validate_json(spec_file.read_bytes())
        store = ObjectStore.from_url(spec.object_store)
        rows = asyncio.run(read_rows(store, spec))  # 1 what is asked
        with engine(spec, spec_file.parent) as running:  # 2 who answers
            started, cpu_before = time.perf_counter(), meters.cpu_seconds(running.pid)
            answers = ask_all(running, rows, spec)  # 3 ask
            seconds, cpu = time.perf_counter() - started, meters.cpu_seconds(running.pid) - cpu_before
            cost = measure_cost(running, rows, spec) if spec.measure_cost else {}
        results = [judged(spec, row, answer) for row, answer in zip(rows, answers, strict=True)]  # 4 score
        summary = asyncio.run(publish(store, spec, results, answers, seconds))  # 5 keep
    except (BadSpec, ValidationError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_SPEC
    if cost:
        tokens = max(1, sum(answer["tokens"] for answer in answers))
        cost |= {"cpu_seconds_per_token": cpu / tokens, "card_seconds_per_token": spec.cards * seconds / tokens}
    write_result(spec_file, summary | {"cost": cost})
    return 0


async def read_rows(store: ObjectStore, spec: Spec) -> list[dict[str, Any]]:
    """Rows that have a last assistant turn to compare with, in the file's order. Raises: BadSpec."""
    content = await store.get(key_of(spec.rows_uri))
    if spec.rows_digest and digest_of(content) != spec.rows_digest:
        raise BadSpec(f"{spec.rows_uri} is not what its version says; import the data set again")
    table = pq.read_table(pa.BufferReader(content)).to_pylist()
    rows = [row for row in table if not spec.slices or row.get("slice") in spec.slices]
    rows = [row for row in rows if row.get("messages") and row["messages"][-1]["role"] == "assistant"]
    if spec.max_rows and len(rows) > spec.max_rows:
        chosen = np.random.default_rng(0).choice(len(rows), size=spec.max_rows, replace=False)
        rows = [rows[index] for index in sorted(chosen)]
    if not rows:
        raise BadSpec("no row of these slices has an assistant turn to compare with")
    return rows


@contextmanager
def engine(spec: Spec, folder: Path) -> Iterator[Running]:
    """The replica's program on a free port, as a child. Raises: BadSpec if it cannot load."""
    chosen = ENGINES[spec.engine]
    with tempfile.TemporaryDirectory(dir=folder, prefix="engine-") as work:
        wanted = {
            "model_uri": spec.model_uri,
            "model_digest": spec.model_digest,
            "object_store": spec.object_store,
            "port": _free_port(),
            "parallel": spec.parallel,
            "context_size": spec.context_size,
            "drain_seconds": 0,  # nobody else asks it
        }
        spec_file = Path(work) / "spec.json"
        spec_file.write_text(json.dumps(wanted | chosen.told(threads=spec.threads, python=spec.python)))
        child = Child([sys.executable, "-m", chosen.module, str(spec_file)])
        try:
            yield _when_ready(child, spec_file.with_name("ready.json"), chosen.start_seconds)
        finally:
            child.end()


def _when_ready(child: Child, ready: Path, seconds: float) -> Running:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready.exists():
            said = json.loads(ready.read_text())
            return Running(said["base_url"], said["model"], child.pid)
        code = child.poll()
        if code == EXIT_BAD_SPEC:
            raise BadSpec(f"the engine cannot load this variant: {child.last_words()}")
        if code is not None:
            raise RuntimeError(f"the engine ended with {code} before it was ready: {child.last_words()}")
        time.sleep(0.05)
    raise RuntimeError(f"the engine was not ready within {seconds:.0f} s")


def ask_all(running: Running, rows: list[dict[str, Any]], spec: Spec) -> list[dict[str, Any]]:
    """Answers in the rows' order; `parallel` at a time, as many as the engine has slots."""
    answers: list[dict[str, Any]] = []
    with ThreadPoolExecutor(spec.parallel) as pool:
        for answer in pool.map(lambda row: ask(running, row["messages"][:-1], spec.answer_tokens), rows):
            answers.append(answer)
            if len(answers) % PROGRESS_EVERY == 0 or len(answers) == len(rows):
                log.info("answered %d of %d rows", len(answers), len(rows))
    return answers


def ask(running: Running, messages: list[dict[str, str]], max_tokens: int) -> dict[str, Any]:
    """{text, latency_ms, tokens}: greedy, so that the same weights give the same answer."""
    body = {"model": running.model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
    started = time.perf_counter()
    answer = post(f"{running.base_url}/chat/completions", body)
    return {
        "text": answer["choices"][0]["message"]["content"] or "",
        "latency_ms": (time.perf_counter() - started) * 1000,
        "tokens": answer["usage"]["completion_tokens"],
    }


def measure_cost(running: Running, rows: list[dict[str, Any]], spec: Spec) -> dict[str, Any]:
    log.info("measuring memory, time to first token and perplexity")
    limits = {"max_tokens": spec.answer_tokens, "parallel": spec.parallel}
    measured = probes.measure(ENGINES[spec.engine], running, rows, **limits)
    return measured | {"engine": spec.engine, "threads": spec.threads if spec.engine == "LLAMA_CPP" else 0}


def judged(spec: Spec, row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """One line of results.parquet."""
    expected = row["messages"][-1]["content"]
    score = scoring.score(spec.scorer, expected, answer["text"])
    return {
        "row_id": row["id"],
        "slice": row.get("slice") or "",
        "prompt": row["messages"][-2]["content"] if len(row["messages"]) > 1 else "",
        "expected": expected,
        "answer": answer["text"],
        "valid": score.valid,
        "exact": score.exact,
        "text_score": score.text,
        "latency_ms": answer["latency_ms"],
    }


async def publish(
    store: ObjectStore, spec: Spec, results: list[dict[str, Any]], answers: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Stores the rows and returns what the evaluation is to say."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.parquet"
        pq.write_table(pa.Table.from_pylist(results, SCHEMA), path)
        uri = await store.put_file(f"{spec.output_prefix}/results.parquet", path)
        digest = digest_of_file(path)
    latencies = [answer["latency_ms"] for answer in answers]
    return {
        "scores": scoring.summarise(results),
        "results_uri": uri,
        "results_digest": digest,
        "row_count": len(results),
        "latency_p50_ms": float(np.percentile(latencies, 50)),
        "latency_p95_ms": float(np.percentile(latencies, 95)),
        "tokens_per_second": sum(answer["tokens"] for answer in answers) / seconds,
    }


SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("slice", pa.string()),
        ("prompt", pa.string()),
        ("expected", pa.string()),
        ("answer", pa.string()),
        ("valid", pa.bool_()),
        ("exact", pa.bool_()),
        ("text_score", pa.float64()),
        ("latency_ms", pa.float64()),
    ]
)


def write_result(spec_file: Path, result: dict[str, Any]) -> None:
    partial = spec_file.with_name(".result.json")
    partial.write_text(json.dumps(result))
    os.replace(partial, spec_file.with_name("result.json"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
