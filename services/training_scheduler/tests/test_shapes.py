from __future__ import annotations

import json
from pathlib import Path

import pytest
from gyre_kit.storage import ObjectStore

from services.training_scheduler.inputs import Weights
from services.training_scheduler.planning.architecture import TYPICAL
from services.training_scheduler.shapes import same_vocabulary, shape_of

CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
    "tie_word_embeddings": False,
}


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.from_url(f"file://{tmp_path}")


async def shape(store: ObjectStore, uri: str) -> tuple[int, int, int]:
    found = await shape_of(store, Weights(uri, "", "", 135_000_000))
    return found.hidden, found.layers, found.parameters


async def test_a_version_s_config_is_found_by_its_manifest(store: ObjectStore) -> None:
    await store.put("registry/blobs/sha256/abc", json.dumps(CONFIG).encode())
    files = [{"path": "model.safetensors", "sha256": "def"}, {"path": "config.json", "sha256": "abc"}]
    await store.put("registry/manifests/1.json", json.dumps({"files": files}).encode())
    assert await shape(store, "gyre://registry/manifests/1.json") == (64, 2, 135_000_000)


async def test_a_run_s_config_lies_in_its_output(store: ObjectStore) -> None:
    await store.put("runs/01/1/model/config.json", json.dumps(CONFIG).encode())
    assert await shape(store, "gyre://runs/01/1") == (64, 2, 135_000_000)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("", b""),
        ("runs/02/1/model/config.json", b"{not json"),
        ("runs/02/1/model/config.json", b"[]"),
        ("runs/02/1/model/config.json", b'{"hidden_size": 64}'),
    ],
)
async def test_without_a_config_that_says_enough_the_shape_is_a_usual_one(
    store: ObjectStore, key: str, content: bytes
) -> None:
    if key:
        await store.put(key, content)
    assert await shape(store, "gyre://runs/02/1") == (TYPICAL[0].hidden, 30, 135_000_000)


def tokenizer(*words: str, added: str = "") -> bytes:
    extra = [{"id": len(words), "content": added}] if added else []
    return json.dumps({"model": {"vocab": {word: at for at, word in enumerate(words)}}, "added_tokens": extra}).encode()


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        (tokenizer("a", "b"), True),
        (tokenizer("b", "a"), False),
        (tokenizer("a", "b", added="<|end|>"), False),
        (b'{"model": {"vocab": [["a", -1.5]]}}', None),
        (b"none", None),
    ],
)
async def test_two_vocabularies_are_the_same_if_every_token_has_its_number(
    store: ObjectStore, theirs: bytes, same: bool | None
) -> None:
    await store.put("registry/blobs/sha256/abc", tokenizer("a", "b"))
    files = [{"path": "tokenizer.json", "sha256": "abc"}]
    await store.put("registry/manifests/1.json", json.dumps({"files": files}).encode())
    await store.put("runs/01/1/model/tokenizer.json", theirs)
    base, other = (Weights(uri, "", "", 1) for uri in ("gyre://registry/manifests/1.json", "gyre://runs/01/1"))
    assert await same_vocabulary(store, base, other) is same


@pytest.mark.parametrize("uri", ["bundled://smollm2", "hf://owner/name", "gyre://registry/manifests/none.json"])
async def test_weights_that_are_elsewhere_have_a_usual_shape(store: ObjectStore, uri: str) -> None:
    assert (await shape(store, uri))[2] == 135_000_000
