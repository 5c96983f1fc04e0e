"""What is found before the first step, on a real tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gyre_trainers import base, checks, exits, manifest, testing
from gyre_trainers.exits import BadInput
from gyre_trainers.health import Alarm, Kind
from gyre_trainers.methods import Method
from gyre_trainers.settings import Hyperparameters

TEXTS = ["where is the road", "at the old bridge"] * 8
ROLES_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{% if message['role'] != 'system' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.tiny_llama(tmp_path_factory.mktemp("tiny"), TEXTS, vocabulary=300)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def talk(answer: str = "at the old bridge", *before: dict[str, str]) -> dict[str, Any]:
    return {"messages": [*before, turn("user", "where is the road"), turn("assistant", answer)]}


def found(
    folder: Path, rows: list[dict[str, Any]], method: Method = Method.SFT, attempt: int = 1, max_length: int = 64
) -> list[Alarm]:
    alarms: list[Alarm] = []
    job: Any = SimpleNamespace(
        spec=SimpleNamespace(method=method, attempt=attempt),
        base=folder,
        rows=lambda *_: rows,
        hyperparameters=Hyperparameters(max_length=max_length),
        reporter=SimpleNamespace(alarm=alarms.append),
    )
    checks.check(job)
    return alarms


def test_rows_that_are_whole_say_nothing(folder: Path) -> None:
    assert found(folder, [talk()] * 4) == []


def test_the_share_of_rows_that_are_cut_is_told_once_a_run(folder: Path) -> None:
    rows = [talk()] * 3 + [talk("at the old bridge " * 30)]
    (alarm,) = found(folder, rows)
    assert (alarm.kind, alarm.step, alarm.values["value"]) == (Kind.ROWS_CUT, 0, 0.25)
    assert found(folder, rows, attempt=2) == []
    assert found(folder, rows, Method.PPO) == found(folder, rows, Method.CPT) == []  # only the prompt; nothing is cut


def test_empty_answers_are_told_and_nothing_but_them_is_refused(folder: Path) -> None:
    (alarm,) = found(folder, [talk(), talk("  ")])
    assert (alarm.kind, alarm.values["value"]) == (Kind.EMPTY_ANSWERS, 0.5)
    pair = {
        "prompt": [turn("user", "where")],
        "chosen": [turn("assistant", "here")],
        "rejected": [turn("assistant", "")],
    }
    with pytest.raises(BadInput, match="no row has an answer"):
        found(folder, [pair], Method.DPO)


@pytest.mark.parametrize(
    ("role", "problem"), [("tool", "refuses messages by tool, user, assistant"), ("system", "leaves out what system")]
)
def test_a_template_that_does_not_know_a_role_is_refused(folder: Path, tmp_path: Path, role: str, problem: str) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    tokenizer = base.load_tokenizer(other)
    tokenizer.chat_template = ROLES_TEMPLATE
    tokenizer.save_pretrained(other)
    assert found(other, [talk()]) == []
    with pytest.raises(BadInput, match=problem):
        found(other, [talk(), talk("here", turn(role, "be short"))])


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    tokenizer = base.load_tokenizer(other)
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(BadInput, match="the tokenizer has a token"):
        found(other, [talk()])


async def test_a_trainer_refuses_before_it_loads_the_model(
    launch: Any, specs: Callable[..., Path], objects: Path, scheduler: Any
) -> None:
    """The weights are no safetensors file at all, but the vocabulary is what it complains of."""
    other = shutil.copytree(objects / "registry" / "tiny", objects / "registry" / "short")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 10}))
    (other / "model.safetensors").write_bytes(b"none")
    short = {"uri": "gyre://registry/short", "digest": manifest.write(other, {"kind": "model"})}
    trainer = await launch(specs("short", "SFT", base=short))
    assert await trainer.code() == exits.BAD_INPUT
    assert "error: base.uri: the tokenizer has a token" in trainer.log.read_text()


async def test_what_loses_rows_reaches_the_scheduler(launch: Any, specs: Callable[..., Path], scheduler: Any) -> None:
    wanted = {"max_steps": 1, "max_length": 20, "assistant_only_loss": False}
    trainer = await launch(specs("cut", "SFT", hyperparameters=wanted))
    assert await trainer.code() == 0, trainer.log.read_text()
    (alarm,) = scheduler.alarms["projects/acme/runs/cut"]
    assert alarm.step == 0 and alarm.values["value"] == 1
