"""A reward model's score is that of a row's last token, wherever the padding is and whichever token it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gyre_trainers import base, testing
from gyre_trainers.ppo_models import Models
from torch import Tensor
from transformers import AutoModelForSequenceClassification

TEXTS = ["the mill is shut", "water", "a longer answer about the old bridge and the road", "yes"] * 8
WIDTH = 3  # tokens of an answer


@pytest.fixture(scope="module", params=["a token of its own", "the eos token"])
def scorer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, list[list[int]], int]:
    """A model with opinions, rows that end with eos, and the padding token."""
    folder = testing.tiny_llama(tmp_path_factory.mktemp("tiny"), TEXTS, vocabulary=300)
    tokenizer = base.load_tokenizer(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    torch.manual_seed(7)
    torch.nn.init.normal_(model.score.weight)
    saved = tmp_path_factory.mktemp("scorer")
    model.save_pretrained(saved)
    rows = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in TEXTS[:4]]
    loaded = base.load_scorer(saved)
    pad = tokenizer.pad_token_id if request.param == "a token of its own" else tokenizer.eos_token_id
    loaded.config.pad_token_id = pad
    assert request.param == "the eos token" or pad != tokenizer.eos_token_id
    return loaded, rows, pad


def padded(rows: list[list[int]], pad: int, *, left: bool) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    gaps = [longest - len(row) for row in rows]
    ids = [[pad] * gap + row if left else row + [pad] * gap for row, gap in zip(rows, gaps, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) if left else [1] * (longest - gap) + [0] * gap for gap in gaps]
    return torch.tensor(ids), torch.tensor(mask)


def at_the_end(model: Any, row: list[int]) -> float:
    """The head on the last hidden state of a row alone."""
    hidden = model.model(input_ids=torch.tensor([row])).last_hidden_state
    return float(model.score(hidden[0, -1]))


@pytest.mark.parametrize("left", [True, False])
def test_the_score_is_read_at_the_last_token_that_is_no_padding(left: bool, scorer: Any) -> None:
    model, rows, pad = scorer
    ids, mask = padded(rows, pad, left=left)
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask).logits.squeeze(-1)
        expected = torch.tensor([at_the_end(model, row) for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.1


def test_ppo_reads_the_same_score_of_prompts_padded_left_and_answers_padded_right(scorer: Any) -> None:
    model, rows, pad = scorer
    rows = [row for row in rows if len(row) > WIDTH]
    lengths = torch.tensor([WIDTH - at % 2 for at in range(len(rows))])
    prompts = [row[:-length] for row, length in zip(rows, lengths.tolist(), strict=True)]
    ids, mask = padded(prompts, pad, left=True)
    answers, answered = padded([row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)], pad, left=False)
    with torch.no_grad():
        models = Models(model, model, model, model)
        found = models.scores(torch.cat([ids, answers], 1), torch.cat([mask, answered], 1).bool(), lengths, WIDTH)
        expected = torch.tensor([at_the_end(model, row) for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
