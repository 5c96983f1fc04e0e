"""The real job: the real engine with a real model, asked over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from gyre_kit.storage import ObjectStore, key_of
from gyre_trainers import bundled

from services.evaluation import probes
from services.evaluation.engines import LONGEST, LlamaCpp
from services.evaluation.work import Spec, engine

QUESTIONS = ("What is the capital of France?", "Say hello.", "Name a colour.", "What is two plus two?")


async def spec_of(folder: Path, *, talks: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """Asks eight rows of SmolLM2 on llama.cpp, unless told otherwise. `talks`: questions with the expected answers."""
    store = ObjectStore.from_url(f"file://{folder / 'objects'}")
    talks = talks or dict.fromkeys(QUESTIONS, "Paris")
    rows = [
        {
            "id": f"r{index}",
            "slice": "even" if index % 2 == 0 else "odd",
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        }
        for index, (question, answer) in enumerate([*talks.items()] * 2)
    ]
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    spec = {
        "object_store": store.url,
        "model_uri": await store.put_file("registry/blobs/model", bundled.wheel_file()),
        "rows_uri": await store.put_file("dataset/rows.parquet", path),
        "scorer": {"kind": "EXACT_TEXT", "exact_fields": [], "text_field": ""},
        "max_tokens": 8,
        "output_prefix": "evaluation/e1",
    }
    spec_file = folder / "spec.json"
    spec_file.write_text(json.dumps(spec | changes))
    return spec_file


def run(spec_file: Path, seconds: int = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.evaluation.work", str(spec_file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)


async def test_a_variant_is_asked_as_it_will_be_served_and_every_row_is_kept(tmp_path: Path) -> None:
    spec_file = await spec_of(tmp_path)
    done = run(spec_file)
    assert done.returncode == 0, done.stderr
    result = json.loads(spec_file.with_name("result.json").read_text())
    assert result["row_count"] == 8
    assert {score["slice"] for score in result["scores"]} == {"", "even", "odd"}
    assert result["latency_p95_ms"] >= result["latency_p50_ms"] > 0
    stored = ObjectStore.from_url(f"file://{tmp_path / 'objects'}").local_path(key_of(result["results_uri"]))
    rows = pq.read_table(stored).to_pylist()
    assert [row["row_id"] for row in rows] == [f"r{index}" for index in range(8)]
    assert all(row["answer"] for row in rows)
    assert rows[0]["answer"] == rows[4]["answer"]


async def test_cost_and_perplexity_are_asked_of_the_same_engine(tmp_path: Path) -> None:
    spec_file = await spec_of(tmp_path, measure_cost=True, threads=1)
    done = run(spec_file)
    assert done.returncode == 0, done.stderr
    cost = json.loads(spec_file.with_name("result.json").read_text())["cost"]
    assert cost["memory_bytes"] > bundled.wheel_file().stat().st_size
    assert 0 < cost["time_to_first_token_p50_ms"] <= cost["time_to_first_token_p95_ms"]
    assert cost["single_tokens_per_second"] > 0
    assert 0 < cost["cpu_seconds_per_token"] < 1
    assert (cost["perplexity_rows"], cost["threads"], cost["engine"]) == (8, 1, "LLAMA_CPP")
    assert (cost["card_seconds_per_token"], cost["card_memory_bytes"]) == (0, 0)
    assert cost["perplexity"] > 100  # "Paris" answers none of the questions in one word but the first


async def test_the_surprise_of_an_answer_is_that_of_its_own_tokens(tmp_path: Path) -> None:
    spec_file = await spec_of(tmp_path)
    spec = Spec.model_validate_json(spec_file.read_bytes())
    question = {"role": "user", "content": "What is the capital of France?"}
    llama = LlamaCpp()
    with engine(spec, tmp_path) as running:
        right, odd, long = (
            llama.surprise(running, [question, {"role": "assistant", "content": answer}])
            for answer in ("The capital of France is Paris.", '{"naïve": "中文"}', "Paris. " * LONGEST)
        )
        asked = probes.time_answer(llama, running, [question], max_tokens=8)
    assert len(right) == 8  # seven tokens and the end
    assert len(long) == LONGEST  # and no end
    assert all(nats >= 0 for nats in [*right, *odd])
    assert probes.perplexity([right]) < 20 < probes.perplexity([odd])
    assert 1 <= asked.tokens <= 8


async def test_a_slice_without_rows_is_a_bad_spec(tmp_path: Path) -> None:
    done = run(await spec_of(tmp_path, slices=["nowhere"]))
    assert done.returncode == 64
    assert "no row" in done.stderr


async def test_a_file_that_is_no_model_is_a_bad_spec(tmp_path: Path) -> None:
    spec_file = await spec_of(tmp_path)
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    await store.put("registry/blobs/model", b"not a model")
    done = run(spec_file)
    assert done.returncode == 64
    assert done.stderr.splitlines()[-1].startswith(
        "error: the engine cannot load this variant: the spec cannot be used"
    )
