"""From a Hugging Face folder to a quantised file that llama.cpp serves."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from gyre_trainers import base, bundled, convert, quantize, testing
from gyre_trainers.convert_lora import lora_to_gguf
from gyre_trainers.exits import BadInput
from safetensors.torch import load_file

TEXTS = ["the bus was late, 3 33 333", "a crew will come today"] * 20
ENGINE = """
import sys
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
params.cpuparams.n_threads = 1
server = Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256 wide: every K-quant fits."""
    return testing.tiny_llama(tmp_path_factory.mktemp("wide"), TEXTS, vocabulary=300, hidden=256)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.tiny_llama(tmp_path_factory.mktemp("narrow"), TEXTS, vocabulary=300)


@pytest.mark.parametrize("name", quantize.QUANTISATIONS)
def test_a_width_of_256_is_quantised_as_promised(name: str, wide: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    convert.to_gguf(wide, source)

    made = quantize.quantise(source, tmp_path / f"{name}.gguf", name)

    assert made.note == ""
    assert made.size_bytes == made.path.stat().st_size < source.stat().st_size


def test_fallbacks_are_counted_and_explained(narrow: Path, tmp_path: Path) -> None:
    convert.to_gguf(narrow, tmp_path / "model.gguf", "f16")

    made = quantize.quantise(tmp_path / "model.gguf", tmp_path / "q4.gguf", "Q4_K_M")

    assert made.note == "13 of 15 matrices fell back (11 Q5_0, 2 Q8_0): 256 does not divide their width"
    with pytest.raises(quantize.UnknownQuantisation):
        quantize.quantise(tmp_path / "model.gguf", tmp_path / "q3.gguf", "Q3")


@pytest.fixture
def engine(narrow: Path, tmp_path: Path) -> Iterator[str]:
    convert.to_gguf(narrow, tmp_path / "model.gguf")
    made = quantize.quantise(tmp_path / "model.gguf", tmp_path / "q8.gguf", "Q8_0")
    command = [sys.executable, "-c", ENGINE, str(made.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
        process.terminate()


def test_llama_cpp_serves_the_file_with_the_same_tokens(engine: str, narrow: Path) -> None:
    text = "the bus was late, 1234 times?"
    ids = base.load_tokenizer(narrow)(text)["input_ids"]

    answer = post(f"{engine}/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 4})

    assert post(f"{engine}/tokenize", {"content": text})["tokens"] == ids
    assert 1 <= answer["usage"]["completion_tokens"] <= 4
    assert isinstance(answer["choices"][0]["message"]["content"], str)


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def test_a_gguf_file_becomes_the_folder_that_it_was_made_of(narrow: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    convert.to_gguf(narrow, tmp_path / "model.gguf")
    folder = tmp_path / "again"
    folder.mkdir()
    bundled.write_folder(tmp_path / "model.gguf", folder)

    before, after = (load_file(path / "model.safetensors") for path in (narrow, folder))
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    text = "late 333 times, 中文!"
    assert base.load_tokenizer(folder)(text)["input_ids"] == base.load_tokenizer(narrow)(text)["input_ids"]
    assert base.load_causal_lm(folder).config.rms_norm_eps == base.load_causal_lm(narrow).config.rms_norm_eps


def test_what_llama_cpp_does_not_know_is_refused_and_leaves_no_file(narrow: Path, tmp_path: Path) -> None:
    config = json.loads((narrow / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["UnheardOfForCausalLM"]}))

    with pytest.raises(BadInput, match=r"llama\.cpp does not know UnheardOfForCausalLM"):
        convert.to_gguf(tmp_path, tmp_path / "model.gguf")

    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": {"type": "Metaspace"}}))

    with pytest.raises(BadInput, match="no pre-tokenizer `Metaspace`"):
        convert.pre_tokenizer_name(tmp_path)


def test_an_adapter_is_scaled_as_peft_scales_it(narrow: Path, tmp_path: Path) -> None:
    scaled = {"use_rslora": True, "alpha_pattern": {"mlp.down_proj": 3}, "rank_pattern": {"mlp.up_proj": 2}}
    adapter = testing.tiny_lora(tmp_path / "adapter", narrow, seed=1, **scaled)
    lora_to_gguf(adapter, narrow, tmp_path / "adapter.gguf")
    given = load_file(adapter / "adapter_model.safetensors")
    reader = GGUFReader(tmp_path / "adapter.gguf")
    made = {tensor.name: tensor.data for tensor in reader.tensors}
    alpha = reader.fields["adapter.lora.alpha"].contents()
    for short, name, scale in (
        ("ffn_down", "down_proj", 3 / 2),
        ("ffn_up", "up_proj", 8 / 2**0.5),
        ("ffn_gate", "gate_proj", 4),
    ):
        key = f"base_model.model.model.layers.0.mlp.{name}"
        update = given[f"{key}.lora_B.weight"] @ given[f"{key}.lora_A.weight"] * scale
        left, right = made[f"blk.0.{short}.weight.lora_b"], made[f"blk.0.{short}.weight.lora_a"]
        np.testing.assert_allclose(left @ right * alpha / right.shape[0], update.numpy(), rtol=1e-4, atol=1e-6)
