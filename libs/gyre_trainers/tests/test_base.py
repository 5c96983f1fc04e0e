"""Which folders may be trained on, and how the registry's manifests become folders."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from gyre_kit.storage import ObjectStore
from gyre_trainers import base, manifest, testing
from gyre_trainers.exits import BadInput
from gyre_trainers.spec import Artifact
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return testing.tiny_llama(tmp_path_factory.mktemp("tiny"), ["a bus", "a crew"] * 20, vocabulary=300)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


async def test_files_kept_by_content_become_a_folder_by_their_manifest(tiny: Path, tmp_path: Path) -> None:
    store = ObjectStore.from_url(f"file://{tmp_path}/objects")
    files = []
    for path in tiny.iterdir():
        digest = manifest.sha256(path)
        await store.put(f"registry/blobs/sha256/{digest}", path.read_bytes())
        files.append({"path": path.name, "size": path.stat().st_size, "sha256": digest})
    content = json.dumps({"files": files}).encode()
    uri = await store.put("registry/manifests/one.json", content)

    found = await base.obtain(
        store, Artifact(uri=uri, digest=f"sha256:{hashlib.sha256(content).hexdigest()}"), tmp_path / "base"
    )

    assert base.load_causal_lm(found).config.hidden_size == 64
    with pytest.raises(BadInput, match=r"base\.digest"):
        await base.obtain(store, Artifact(uri=uri, digest="sha256:" + 64 * "0"), tmp_path / "other")


async def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    store = ObjectStore.from_url(f"file://{tmp_path}/objects")
    listing = {"files": [{"path": "../../escaped", "size": 1, "sha256": 64 * "0"}]}
    uri = await store.put("registry/manifests/bad.json", json.dumps(listing).encode())

    with pytest.raises(BadInput, match="its manifest names"):
        await base.obtain(store, Artifact(uri=uri), tmp_path / "base")


def test_incomplete_weights_are_refused_rather_than_filled_at_random(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    missing = min(name for name in weights if "q_proj" in name)
    save_file({name: tensor for name, tensor in weights.items() if name != missing}, copy / "model.safetensors")

    with pytest.raises(BadInput, match=f"weights are missing, {missing} first"):
        base.load_causal_lm(copy)


def test_a_model_that_brings_code_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "modeling.Tiny"}}))

    with pytest.raises(BadInput, match="Python code of its own"):
        base.check_folder(copy)


def test_a_folder_with_pickles_alone_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")

    with pytest.raises(BadInput, match="no safetensors"):
        base.check_folder(copy)


def test_a_broken_weights_file_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"not safetensors")

    with pytest.raises(BadInput, match="cannot be loaded"):
        base.load_causal_lm(copy)
