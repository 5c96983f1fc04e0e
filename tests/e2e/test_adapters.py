"""A LoRA run on a tiny base, served by the base's engine: who asks for it, and what a change does to who asks meanwhile.

That two adapters differ is shown in the gateway's own tests (`test_adapters_engine.py`).
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import openai
import pytest
from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target

from tests.conftest import Running
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "adapters"
TRAINING = {"batch_size": 8, "lora_rank": 4, "lora_alpha": 64, "max_length": 128, "learning_rate": 2e-2, "max_steps": 6}


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def served(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Names of the versions; the base is deployed as `hotline`."""
    folder = tmp_path_factory.mktemp("tiny")
    lines = (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:60]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    data = gyre.datasets.import_file(folder / "rows.jsonl", "rows", "SFT", split=SplitSettings(test_fraction=0.25))
    data = gyre.datasets.wait_version(data.name, timeout=180)
    base = tiny_base(gyre, folder, lines)
    run = gyre.runs.create(
        base=base,
        datasets=[data.name],
        hyperparameters=TRAINING,
        register_as=f"projects/{PROJECT}/models/maria",
    )
    variant = gyre.models.wait_variant(gyre.models.create_variant(base, "F16").name, timeout=300)
    gyre.deployments.wait_ready(gyre.deployments.create("hotline", [target(variant.name)]).name, timeout=300)
    gyre.runs.wait(run.name, timeout=600)
    trained = gyre.models.wait_version(gyre.models.await_run("maria", run.name).name, timeout=180)
    gyre.models.wait_variant(gyre.models.create_adapter(trained.name).name, timeout=300)
    return {"base": base, "maria": trained.name}


def client(running: Running, gyre: Gyre) -> openai.OpenAI:
    key = gyre.keys.create("VIEWER", "application")
    return openai.OpenAI(base_url=running.openai_url, api_key=key.secret, max_retries=0)


def say(asking: openai.OpenAI, model: str) -> str:
    words = {"ignore_eos": True, "cache_prompt": False}
    turns = [{"role": "user", "content": "The lamp in front of our house is broken."}]
    answer = asking.chat.completions.create(
        model=model, messages=turns, max_tokens=16, temperature=0, seed=1, extra_body=words
    )
    return str(answer.choices[0].message.content)


def test_one_engine_answers_with_it_and_as_its_base_and_a_change_loses_no_request(
    running: Running, gyre: Gyre, served: dict[str, str]
) -> None:
    asking = client(running, gyre)
    base = say(asking, "hotline")
    answers: list[str] = []
    done = threading.Event()

    def go_on_asking() -> None:
        while not done.is_set():
            answers.append(say(asking, "hotline"))

    thread = threading.Thread(target=go_on_asking)
    thread.start()
    try:
        adding = ("-p", PROJECT, "deployments", "adapters", "hotline", "--add", "maria=maria@1")
        changed = running.command(*adding, timeout=300)
    finally:
        done.set()
        thread.join()
    assert changed.returncode == 0, changed.stderr
    assert answers and set(answers) == {base}
    assert say(asking, "hotline:maria") != base
    assert say(asking, "hotline") == base
    assert [each.id for each in asking.models.list()] == ["hotline", "hotline:maria"]
    with pytest.raises(openai.NotFoundError, match="There are hotline:maria"):
        say(asking, "hotline:nobody")
    listed = running.command("-p", PROJECT, "deployments", "adapters", "hotline", "--json")
    assert [each["id"] for each in json.loads(listed.stdout)["adapters"]] == ["maria"]


def test_a_personal_model_answers_its_own_key_unasked_and_nobody_else(
    running: Running, gyre: Gyre, served: dict[str, str]
) -> None:
    key = gyre.keys.create("VIEWER", "maria's phone")
    there = gyre.deployments.adapters(gyre.deployments.get("hotline"))
    there[0].keys.append(key.name)
    gyre.deployments.set_adapters("hotline", there)
    hers = openai.OpenAI(base_url=running.openai_url, api_key=key.secret, max_retries=0)
    others = client(running, gyre)
    assert [each.id for each in hers.models.list()] == ["hotline", "hotline:maria"]
    assert say(hers, "hotline") == say(hers, "hotline:maria") != say(others, "hotline")
    with pytest.raises(openai.NotFoundError):
        say(others, "hotline:maria")


def test_what_was_trained_on_other_weights_and_what_is_no_adapter_is_refused(
    gyre: Gyre, served: dict[str, str]
) -> None:
    there = gyre.deployments.adapters(gyre.deployments.get("hotline"))
    merged = gyre.models.wait_variant(gyre.models.create_variant(served["maria"], "F16").name, timeout=300)
    other = gyre.deployments.create("other", [target(merged.name)])
    gyre.deployments.wait_ready(other.name, timeout=300)
    with pytest.raises(GyreError) as refused:
        gyre.deployments.set_adapters("other", there)
    assert refused.value.reason == "ADAPTER_OF_ANOTHER_BASE"
    there[0].variant = merged.name
    with pytest.raises(GyreError) as refused:
        gyre.deployments.set_adapters("hotline", there)
    assert refused.value.reason == "NO_ADAPTER_VARIANT"
    with pytest.raises(GyreError) as refused:
        gyre.models.create_adapter(served["base"])
    assert refused.value.reason == "NO_ADAPTER"
