"""A LoRA adapter that PEFT saved elsewhere: imported for its base, served on the base, and the same as the merged model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import openai
import pytest
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target
from gyre_trainers.testing import tiny_llama, tiny_lora

from tests.conftest import Running
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "imported-adapters"


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def folder(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `model`, the base, which is imported as `tiny@1`; `polite`, its adapter; and `merged`, which is both."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_base(gyre, folder, (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:60])
    scaled = {"use_rslora": True, "alpha_pattern": {"mlp.down_proj": 3}, "rank_pattern": {"q_proj": 2}}
    tiny_lora(folder / "polite", folder / "model", seed=3, merged=folder / "merged", **scaled)
    return folder


def say(running: Running, gyre: Gyre, model: str) -> str:
    key = gyre.keys.create("VIEWER", "application")
    asking = openai.OpenAI(base_url=running.openai_url, api_key=key.secret, max_retries=0)
    answer = asking.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "The lamp in front of our house is broken."}],
        max_tokens=24,
        temperature=0,
        seed=1,
        extra_body={"ignore_eos": True, "cache_prompt": False},
    )
    return str(answer.choices[0].message.content)


def deploy(gyre: Gyre, version: str, name: str) -> None:
    variant = gyre.models.wait_variant(gyre.models.create_variant(version, "F16").name, timeout=300)
    gyre.deployments.wait_ready(gyre.deployments.create(name, [target(variant.name)]).name, timeout=300)


def test_its_base_serves_it_and_answers_as_the_merged_model_does_to_the_letter(
    running: Running, gyre: Gyre, folder: Path
) -> None:
    done = running.command(
        "-p", PROJECT, "models", "import", str(folder / "polite"), "--base", "tiny@1", "--json", timeout=300
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    base = gyre.models.version_name("tiny@1")
    assert (made["name"], made["format"]) == (f"{base}/variants/polite-gguf", "FORMAT_GGUF_ADAPTER")
    assert made["source"] == f"{base}/variants/polite"

    deploy(gyre, base, "hotline")
    adding = ("-p", PROJECT, "deployments", "adapters", "hotline", "--add", "polite=tiny@1:polite-gguf")
    changed = running.command(*adding, timeout=300)
    assert changed.returncode == 0, changed.stderr
    sent = gyre.model_uploads.send(folder / "merged", "merged")
    merged = gyre.models.wait_version(gyre.models.import_as("merged", sent.uri).name, timeout=300)
    deploy(gyre, merged.name, "merged")

    answer = say(running, gyre, "hotline:polite")
    assert answer == say(running, gyre, "merged")
    assert answer != say(running, gyre, "hotline")


def test_its_base_is_found_by_the_name_that_peft_wrote_down(gyre: Gyre, folder: Path, tmp_path: Path) -> None:
    sent = gyre.model_uploads.send(renamed(folder / "polite", tmp_path / "named", "tiny"))
    found = gyre.models.import_adapter("", sent.uri, "found")
    assert found.version == gyre.models.version_name("tiny@1")
    assert gyre.models.wait_adapter(found.name, timeout=300).source == found.name
    unknown = gyre.model_uploads.send(renamed(folder / "polite", tmp_path / "unknown", "somebody/else"))
    with pytest.raises(GyreError, match="somebody/else") as refused:
        gyre.models.import_adapter("", unknown.uri, "unknown")
    assert refused.value.reason == "BASE_UNKNOWN"


def test_one_of_another_shape_is_refused_with_the_layer_that_does_not_fit(
    gyre: Gyre, folder: Path, tmp_path: Path
) -> None:
    wide = tiny_llama(tmp_path / "wide", ["the bin was not emptied"] * 20, hidden=128)
    sent = gyre.model_uploads.send(tiny_lora(tmp_path / "adapter", wide, seed=1))
    made = gyre.models.import_adapter("tiny@1", sent.uri, "wide")
    with pytest.raises(GyreError, match=r"mlp.down_proj as a matrix of 128 × 512, the base has 64 × 256"):
        gyre.models.wait_adapter(made.name, timeout=300)


def renamed(adapter: Path, copy: Path, base: str) -> Path:
    """A copy whose configuration names another base."""
    shutil.copytree(adapter, copy)
    config = json.loads((copy / "adapter_config.json").read_text("utf-8"))
    (copy / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": base}), "utf-8")
    return copy
