from __future__ import annotations

from typing import Any

import pytest
from gyre_trainers import base, templates, testing, tokens
from gyre_trainers.data import with_chat_template
from gyre_trainers.exits import BadInput

TALK = [
    {"role": "user", "content": "the bus is late"},
    {"role": "assistant", "content": "a crew will come"},
    {"role": "user", "content": "when"},
    {"role": "assistant", "content": "today"},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    texts = [message["content"] for message in TALK] * 20
    return base.load_tokenizer(testing.tiny_llama(tmp_path_factory.mktemp("tiny"), texts, vocabulary=300))


def learned(tokenizer: Any, row: dict[str, list[int]]) -> str:
    return str(tokenizer.decode([label for label in row["labels"] if label != tokens.IGNORED]))


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else_is(tokenizer: Any) -> None:
    row = tokens.encode(TALK, tokenizer, max_length=500, assistant_only=True)

    assert learned(tokenizer, row) == "a crew will come<|im_end|>\ntoday<|im_end|>\n"
    assert all(label in (tokens.IGNORED, token) for label, token in zip(row["labels"], row["input_ids"], strict=True))


def test_without_assistant_only_all_but_the_first_token_is_learned(tokenizer: Any) -> None:
    row = tokens.encode(TALK, tokenizer, max_length=500, assistant_only=False)

    assert row["labels"] == [tokens.IGNORED, *row["input_ids"][1:]]


def test_a_row_that_is_cut_before_its_answer_is_dropped(tokenizer: Any) -> None:
    long = {"messages": [{"role": "user", "content": "late " * 50}, TALK[1]]}
    kept = tokens.training_rows([long, {"messages": TALK}], tokenizer, max_length=60, assistant_only=True)

    assert len(kept) == 1
    with pytest.raises(BadInput, match=r"hyperparameters\.max_length"):
        tokens.training_rows([long], tokenizer, max_length=60, assistant_only=True)


def test_a_tokenizer_without_chat_template_gets_a_plain_one_that_ends_the_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    assert with_chat_template(tokenizer).chat_template == templates.CHATML
    tokenizer.chat_template = templates.PLAIN

    row = tokens.encode(TALK[:2], tokenizer, max_length=500, assistant_only=True)

    assert learned(tokenizer, row) == "a crew will come<|im_end|>\n"
    tokenizer.chat_template = templates.CHATML
