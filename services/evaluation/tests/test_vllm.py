"""Judged on vLLM as served by vLLM: by a stand-in always, and by the real engine with a real model in `peers`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.peers import llmcompressor_python, vllm_python
from gyre_kit.storage import ObjectStore
from gyre_trainers import bundled, compress, convert
from gyre_trainers.testing import stored, tiny_llama

from services.evaluation.asking import Refused, Running, post
from services.evaluation.engines import LONGEST, Vllm
from services.evaluation.tests.test_work import run, spec_of
from services.evaluation.work import Spec, engine
from services.inference_gateway.tests import fake_vllm
from services.inference_gateway.tests.fake_vllm import END, nats

TALKS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Name a colour of the sky.": "The sky is blue.",
    "What is two plus two?": "Two plus two is four.",
    "Who repairs a lamp in the park?": "The city sends a crew to repair it.",
}
ROWS: list[Any] = [
    {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    for asked, said in TALKS.items()
]


def stand_in(folder: Path) -> str:
    """A Python beside which there is a `vllm`."""
    script = folder / "vllm"
    script.write_text(
        f"#!{sys.executable}\nimport runpy\nrunpy.run_path({fake_vllm.__file__!r}, run_name='__main__')\n"
    )
    script.chmod(0o755)
    return str(folder / "python")


@pytest.fixture
async def judged(tmp_path: Path) -> Path:
    """The spec of an evaluation of a tiny model, on the stand-in."""
    model = tiny_llama(tmp_path / "tiny", ["the bus was late", "a crew will come"] * 20)
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    on_vllm = {"engine": "VLLM", "python": stand_in(tmp_path), "model_uri": await stored(store, model)}
    return await spec_of(tmp_path, **on_vllm)


@pytest.fixture
def running(judged: Path) -> Iterator[Running]:
    with engine(Spec.model_validate_json(judged.read_bytes()), judged.parent) as running:
        yield running


async def test_every_row_is_asked_and_cards_are_counted_by_their_time(judged: Path) -> None:
    judged.write_text(json.dumps(json.loads(judged.read_bytes()) | {"measure_cost": True, "cards": 2}))
    done = run(judged)
    assert done.returncode == 0, done.stderr
    result = json.loads(judged.with_name("result.json").read_text())
    cost = result["cost"]
    assert result["row_count"] == 8
    assert (cost["engine"], cost["threads"], cost["perplexity_rows"]) == ("VLLM", 0, 8)
    assert cost["card_seconds_per_token"] == pytest.approx(2 / result["tokens_per_second"])
    assert cost["memory_bytes"] > 0 and cost["cpu_seconds_per_token"] >= 0
    assert cost["time_to_first_token_p50_ms"] > 0


def test_the_surprise_is_that_of_the_answers_tokens_and_of_the_end_that_the_template_gives(running: Running) -> None:
    asked = [{"role": "user", "content": "how late?"}]
    for answer in ("very", '{"naïve": "中文"}', " spaces stay "):
        found = Vllm().surprise(running, [*asked, {"role": "assistant", "content": answer}])
        assert found == [nats(token) for token in (*answer.encode(), END)]
    long = Vllm().surprise(running, [*asked, {"role": "assistant", "content": "x" * 2 * LONGEST}])
    assert long == [nats(ord("x"))] * LONGEST  # and no end


def test_what_the_engine_refuses_is_said_with_its_words(running: Running) -> None:
    with pytest.raises(Refused, match=r"answered 404: .*The model `other` does not exist"):
        post(f"{running.base_url}/chat/completions", {"model": "other", "messages": []})


async def test_a_python_without_vllm_is_a_bad_spec_that_says_so(judged: Path) -> None:
    judged.write_text(json.dumps(json.loads(judged.read_bytes()) | {"python": "/nowhere/python"}))
    done = run(judged)
    assert done.returncode == 64
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the engine cannot load this variant: the spec cannot be used")
    assert "/nowhere/vllm" in last


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled.smollm2(tmp_path_factory.mktemp("models") / "bf16")


def cost_of(spec_file: Path) -> dict[str, Any]:
    done = run(spec_file, seconds=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    cost: dict[str, Any] = json.loads(spec_file.with_name("result.json").read_text())["cost"]
    print(json.dumps(cost))
    return cost


@pytest.mark.peers
@pytest.mark.timeout(1800)
async def test_the_same_weights_are_as_sure_on_vllm_as_on_llama_cpp(smollm2: Path, tmp_path: Path) -> None:
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    convert.to_gguf(smollm2, tmp_path / "f16.gguf", "f16")
    given = {"measure_cost": True, "talks": TALKS}
    gguf = await store.put_file("registry/blobs/f16", tmp_path / "f16.gguf")
    on_llama = cost_of(await spec_of(tmp_path, **given, model_uri=gguf))
    on_vllm = cost_of(
        await spec_of(
            tmp_path,
            **given,
            model_uri=await stored(store, smollm2),
            engine="VLLM",
            python=str(vllm_python(tmp_path)),
        )
    )
    assert math.log(on_vllm["perplexity"]) == pytest.approx(math.log(on_llama["perplexity"]), rel=0.02)
    assert on_vllm["memory_bytes"] > 1e9  # of its children, for its own program computes nothing
    assert on_vllm["cpu_seconds_per_token"] > 0


@pytest.mark.peers
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("quantisation", compress.QUANTISATIONS)
async def test_what_llm_compressor_made_is_measured_on_vllm(smollm2: Path, tmp_path: Path, quantisation: str) -> None:
    rows = [] if quantisation == "FP8" else ROWS * 4
    made = tmp_path / quantisation.lower()
    compress.compress(smollm2, made, quantisation, rows, str(llmcompressor_python(tmp_path)))
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    on_vllm = {"engine": "VLLM", "python": str(vllm_python(tmp_path)), "model_uri": await stored(store, made)}
    cost = cost_of(await spec_of(tmp_path, **on_vllm, measure_cost=True, talks=TALKS))
    assert 1 < cost["perplexity"] < 30


@pytest.mark.peers
@pytest.mark.timeout(1800)
async def test_what_vllm_has_no_kernel_for_is_a_bad_spec_in_its_own_words(smollm2: Path, tmp_path: Path) -> None:
    """Three bits, of which vLLM has none on a CPU."""
    made = tmp_path / "gptq"
    compress.compress(smollm2, made, "GPTQ", ROWS, str(llmcompressor_python(tmp_path)))
    config = json.loads((made / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 3
    (made / "config.json").write_text(json.dumps(config))
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    on_vllm = {"engine": "VLLM", "python": str(vllm_python(tmp_path)), "model_uri": await stored(store, made)}
    done = run(await spec_of(tmp_path, **on_vllm), seconds=1500)
    assert done.returncode == 64
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "error: the engine cannot load this variant: vLLM cannot serve judged: ValueError: Failed to find"
    )
    print(last)
