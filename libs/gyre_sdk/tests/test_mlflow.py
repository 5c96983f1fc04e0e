"""Which files are taken, which side's alias wins, and which addresses are refused."""

from __future__ import annotations

import pytest
from gyre_sdk.errors import GyreError
from gyre_sdk.mlflow.choosing import Moves, merge, model_files, slug
from gyre_sdk.mlflow.client import Mlflow

TRANSFORMERS = [
    "MLmodel",
    "conda.yaml",
    "requirements.txt",
    "model/config.json",
    "model/model-00001-of-00002.safetensors",
    "model/model-00002-of-00002.safetensors",
    "model/model.safetensors.index.json",
    "components/tokenizer/tokenizer.json",
    "components/tokenizer/chat_template.jinja",
    "components/tokenizer/special.py",
]


def test_of_the_transformers_flavour_weights_and_tokenizer_are_taken_and_no_code() -> None:
    assert sorted(model_files(TRANSFORMERS).values()) == [
        "chat_template.jinja",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ]


def test_one_gguf_is_taken_alone() -> None:
    assert model_files(["data/tiny.gguf", "README.md"]) == {"data/tiny.gguf": "tiny.gguf"}


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["MLmodel", "model.pkl", "requirements.txt"], "PICKLED_FLAVOUR"),
        (["MLmodel", "data/model.pth", "data/pickle_module_info.txt"], "PICKLED_FLAVOUR"),
        (["model/config.json", "model/pytorch_model.bin"], "PICKLED_FLAVOUR"),
        (["MLmodel"], "NO_MODEL_FILES"),
        (["a.gguf", "b.gguf"], "SEVERAL_MODELS"),
        (["a/config.json", "a/m.safetensors", "b/config.json", "b/m.safetensors"], "SEVERAL_MODELS"),
    ],
)
def test_what_is_pickled_or_no_model_is_refused_with_a_reason(paths: list[str], reason: str) -> None:
    with pytest.raises(GyreError) as caught:
        model_files(paths)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("there", "here", "agreed", "expected"),
    [
        ("1", "1", None, "alike"),
        ("1", None, None, "pull"),
        (None, "1", None, "push"),
        ("2", "1", "1", "pull"),
        ("1", "2", "1", "push"),
        ("2", "3", "1", "conflict"),
        ("1", "2", None, "conflict"),
    ],
)
def test_the_side_that_moved_its_alias_wins_and_if_both_did_neither_does(
    there: str | None, here: str | None, agreed: str | None, expected: str
) -> None:
    of = lambda version: {"champion": version} if version else {}
    moves = merge(of(there), of(here), of(agreed), pull=True, push=True)
    assert (
        moves
        == {
            "alike": Moves({}, {}, ()),
            "pull": Moves(of(there), {}, ()),
            "push": Moves({}, of(here), ()),
            "conflict": Moves({}, {}, ("champion",)),
        }[expected]
    )


def test_with_one_direction_its_source_wins() -> None:
    assert merge({"a": "1"}, {"a": "2"}, {}, pull=True, push=False) == Moves({"a": "1"}, {}, ())
    assert merge({"a": "1"}, {"a": "2"}, {}, pull=False, push=True) == Moves({}, {"a": "2"}, ())


@pytest.mark.parametrize(("name", "expected"), [("Hotline Bot", "hotline-bot"), ("…", "model"), ("A" * 90, "a" * 63)])
def test_a_name_of_mlflows_becomes_one_of_ours(name: str, expected: str) -> None:
    assert slug(name) == expected


@pytest.mark.parametrize("uri", ["file:///etc", "mlflow.lan:5000", "http://user:secret@mlflow.lan", "http://a/?b=c"])
def test_an_address_that_is_none_or_carries_a_password_is_refused(uri: str) -> None:
    with pytest.raises(GyreError) as caught:
        Mlflow(uri)
    assert caught.value.reason == "BAD_TRACKING_URI"
    assert "secret" not in str(caught.value)
