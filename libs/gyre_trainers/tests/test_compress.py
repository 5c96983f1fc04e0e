"""AWQ, GPTQ and FP8: what we hand over and take back by a stand-in always, and by the real llm-compressor in `peers`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.peers import llmcompressor_python
from gyre_trainers import compress
from gyre_trainers.compress import CompressorMissing
from gyre_trainers.exits import BadInput
from gyre_trainers.testing import tiny_llama

TEXTS = ["a lamp is broken in the park", "the bin was not emptied"] * 20
TALK = [{"role": "user", "content": "what is broken?"}, {"role": "assistant", "content": "a lamp in the park"}]
ROWS: list[Any] = [{"messages": TALK}] * 4
STAND_IN = """
import json, os, shutil, sys
from pathlib import Path

spec = json.loads(Path(sys.argv[-1]).read_text())
if fails := os.environ.get("STAND_IN_FAILS"):
    sys.exit(print("no such layer", file=sys.stderr) or int(fails))
output = Path(spec["output"])
output.mkdir()
config = json.loads((Path(spec["model"]) / "config.json").read_text())
seen = {name: value for name, value in os.environ.items() if name.startswith(("GYRE_", "AWS_"))}
config |= {"quantization_config": {"quant_method": "compressed-tensors"}, "seen": seen}
(output / "config.json").write_text(json.dumps(config))
shutil.copy(Path(spec["model"]) / "model.safetensors", output)
if spec["rows"]:
    shutil.copy(spec["rows"], output / "rows.json")
Path(sys.argv[-1]).with_name("made.json").write_text(json.dumps({"group_size": 0 if spec["quantisation"] == "FP8" else 64}))
"""
PERPLEXITY = """
import json, sys, torch
from transformers import AutoModelForCausalLM

ids = torch.tensor([json.loads(sys.argv[2])])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.inference_mode():
    found = model(input_ids=ids, labels=ids)
print(json.dumps({"loss": float(found.loss), "logits": found.logits[0, -1].tolist()}))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("compress") / "tiny", TEXTS, hidden=128)


@pytest.fixture
def stand_in(tmp_path: Path) -> str:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{STAND_IN}")
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(llmcompressor_python(tmp_path_factory.mktemp("peers")))


def test_the_folder_has_the_tokenizer_and_says_how_it_was_made(tiny: Path, tmp_path: Path, stand_in: str) -> None:
    made = tmp_path / "made"
    note = compress.compress(tiny, made, "AWQ", ROWS, stand_in)

    tokens = [json.loads(line)["input_ids"] for line in (made / "rows.json").read_text().splitlines()]
    total = sum(map(len, tokens))
    assert note == (
        "4-bit weights in groups of 64; 128 does not divide the width of every matrix; calibrated on 4 conversations "
        f"({total} tokens)"
    )
    assert len(tokens) == 4 and total > 0
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (made / name).read_bytes() == (tiny / name).read_bytes()
    assert "quantization_config" in json.loads((made / "config.json").read_text())


def test_llm_compressor_sees_neither_our_keys_nor_our_settings(
    tiny: Path, tmp_path: Path, stand_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("GYRE_TOKEN", "s3cret")
    monkeypatch.setenv("GYRE_WORK_FOLDER", "/work")
    compress.compress(tiny, tmp_path / "made", "FP8", [], stand_in)
    assert json.loads((tmp_path / "made/config.json").read_text())["seen"] == {"GYRE_WORK_FOLDER": "/work"}


def test_a_missing_package_and_a_missing_environment_say_what_to_install(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressorMissing, match=r"has no llmcompressor; install it .*gyre\[gpu\]"):
        compress.compress(tiny, tmp_path / "made", "FP8", [])
    with pytest.raises(CompressorMissing, match="cannot be started"):
        compress.compress(tiny, tmp_path / "again", "FP8", [], str(tmp_path / "nowhere"))


def test_a_model_that_it_does_not_know_is_bad_input_and_a_crash_is_not(
    tiny: Path, tmp_path: Path, stand_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "64")
    with pytest.raises(BadInput, match="cannot make GPTQ of it: no such layer; take a GGUF quantisation"):
        compress.compress(tiny, tmp_path / "made", "GPTQ", ROWS, stand_in)
    monkeypatch.setenv("STAND_IN_FAILS", "137")
    with pytest.raises(RuntimeError, match="ended with 137"):
        compress.compress(tiny, tmp_path / "again", "GPTQ", ROWS, stand_in)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised already"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "generates no text"),
    ],
)
def test_what_cannot_be_quantised_is_refused_before_anything_starts(
    tiny: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(json.loads((tiny / "config.json").read_text()) | changes))
    (tmp_path / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    with pytest.raises(BadInput, match=says):
        compress.compress(tmp_path, tmp_path / "made", "FP8", [], "/nowhere")


@pytest.mark.peers
@pytest.mark.parametrize("quantisation", compress.QUANTISATIONS)
def test_the_real_one_makes_a_smaller_model_that_says_nearly_the_same(
    tiny: Path, tmp_path: Path, real: str, quantisation: str
) -> None:
    made = tmp_path / "made"
    note = compress.compress(tiny, made, quantisation, [] if quantisation == "FP8" else ROWS, real)

    assert (made / "model.safetensors").stat().st_size < (tiny / "model.safetensors").stat().st_size
    config = json.loads((made / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    assert ("groups of 128" in note) == (quantisation != "FP8")
    before, after = asked(real, tiny), asked(real, made)
    assert math.exp(abs(after["loss"] - before["loss"])) < 1.1
    assert likeness(before["logits"], after["logits"]) > 0.95  # random weights: no smooth ones to round
    assert before["logits"] != after["logits"]


@pytest.mark.peers
def test_the_real_one_refuses_widths_that_no_group_divides(tmp_path: Path, real: str) -> None:
    odd = tiny_llama(tmp_path / "odd", TEXTS, hidden=48)
    with pytest.raises(BadInput, match="32 does not divide the width of its matrices"):
        compress.compress(odd, tmp_path / "made", "GPTQ", ROWS, real)


def asked(python: str, folder: Path) -> dict[str, Any]:
    """Loss (nats) and last logits of one text, by transformers and compressed-tensors."""
    ids = json.dumps(list(range(3, 60)))
    done = subprocess.run([python, "-I", "-c", PERPLEXITY, folder, ids], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def likeness(one: list[float], other: list[float]) -> float:
    """Cosine."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
