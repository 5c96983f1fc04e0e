"""What a model answers while it learns: there at the beginning, at checkpoints and at the end, and without any effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gyre_trainers import samples
from gyre_trainers.settings import Hyperparameters
from gyre_trainers.testing import texts_of, tiny_llama
from gyre_trainers.tests.conftest import messages_rows
from peft import get_peft_model

RUN = "projects/acme/runs/{}"


@pytest.mark.parametrize(("method", "rows"), [("SFT", "SFT"), ("DPO", "PREFERENCE"), ("KTO", "PREFERENCE")])
async def test_answers_come_before_the_first_step_and_at_the_end(
    method: str, rows: str, launch: Any, specs: Callable[..., Path], scheduler: Any
) -> None:
    name = f"sampled-{method.lower()}"
    spec = specs(name, method, rows=rows, hyperparameters={"max_steps": 4, "checkpoint_every": 2})
    trainer = await launch(spec)
    assert await trainer.code() == 0, trainer.log.read_text()
    said = scheduler.samples[RUN.format(name)]
    at = [(each.step, each.number) for each in said]
    ends = [(step, number) for step in (0, 4) for number in (1, 2, 3)]
    assert [each for each in at if each[0] != 2] == ends  # at a checkpoint only while they take little of the time
    assert all(each.prompt and each.expected for each in said)
    if method == "SFT":
        question, answer = (message["content"] for message in messages_rows(1)[0]["messages"])
        assert (said[0].prompt, said[0].expected) == (question, answer)


def test_they_draw_no_random_number_and_leave_the_model_as_it_was(tmp_path: Path) -> None:
    """In the middle of training, with dropout: what comes next is what would have come without them."""
    import torch
    from gyre_trainers import base, lora

    rows = messages_rows(8)
    folder = tiny_llama(tmp_path / "model", texts_of(rows))
    tokenizer, settings = base.load_tokenizer(folder), Hyperparameters(lora_dropout=0.5)
    model = get_peft_model(base.load_causal_lm(folder), lora.adapter_config(settings)).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first: dropout would do nothing
            torch.nn.init.ones_(parameter)
    ids = torch.arange(1, 9).unsqueeze(0)

    def losses(sampler: samples.Sampler | None) -> list[float]:
        torch.manual_seed(3)
        found = []
        for step in range(3):
            if sampler is not None:
                assert len(sampler.take(model, step, at_an_end=True)) == 3
            assert model.training
            found.append(float(model(input_ids=ids, labels=ids).loss.detach()))
        return found

    without = losses(None)
    assert len(set(without)) == 3  # dropout is at work
    assert losses(samples.Sampler(rows, tokenizer)) == without
    assert all(parameter.grad is None for parameter in model.parameters())


class Still:
    """A model that is never asked: what is asked of it is counted."""

    def __init__(self) -> None:
        self.asked: list[int] = []


def test_samples_between_the_ends_take_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, model = [0.0], Still()

    def taken(sampler: samples.Sampler, model: Any, step: int) -> list[samples.Sample]:
        now[0] += 1.0
        model.asked.append(step)
        return []

    monkeypatch.setattr(samples.Sampler, "_taken", taken)
    monkeypatch.setattr(samples, "question", lambda *_: samples.Question([1], "Where?", "Here."))
    sampler = samples.Sampler([{"messages": []}], tokenizer=None, clock=lambda: now[0])
    sampler.take(model, 0, at_an_end=True)
    for step, at in ((10, 20.0), (20, 60.0), (30, 90.0), (40, 110.0)):
        now[0] = at
        sampler.take(model, step)
    sampler.take(model, 50, at_an_end=True)
    assert model.asked == [0, 20, 40, 50]


def test_a_row_without_an_answer_asks_nothing() -> None:
    assert samples.question({"messages": [{"role": "user", "content": "Well?"}]}, tokenizer=None) is None
    assert samples.question({"messages": []}, tokenizer=None) is None
