"""The real worker, as a process, on a tiny model and on files that must not be loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gyre_kit.storage import ObjectStore, digest_of, key_of
from gyre_trainers.exits import BadInput
from gyre_trainers.testing import tiny_llama, tiny_lora
from safetensors.torch import load_file, save_file

from services.model_registry import arrived, intake
from services.model_registry.files import LISTING, UPLOADS


def work(folder: Path, **spec: Any) -> tuple[int, dict[str, Any], str]:
    store = f"file://{folder / 'objects'}"
    spec_file = folder / "spec.json"
    spec_file.write_text(json.dumps({"object_store": store, **spec}))
    command = [sys.executable, "-m", "services.model_registry.work", str(spec_file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    result = folder / "result.json"
    return done.returncode, json.loads(result.read_text()) if result.exists() else {}, done.stderr


async def upload(folder: Path, files: dict[str, bytes]) -> str:
    archive = folder / "upload.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return await ObjectStore.from_url(f"file://{folder / 'objects'}").put_file("dataset/uploads/u", archive)


async def test_a_tiny_model_is_imported_by_content_and_quantised(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", ["the bin was not emptied", "a lamp is broken in the park"] * 20)
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    source = await upload(tmp_path, files | {"README.md": b"---\nlicense: other\nlicense_name: llama3.1\n---\n# Tiny"})

    code, imported, errors = work(tmp_path, task="import", source=source)
    assert code == 0, errors
    assert imported["architecture"] == "LlamaForCausalLM"
    assert imported["parameter_count"] > 0
    assert imported["licence"] == "llama3.1"
    assert work(tmp_path, task="import", source=source)[1]["digest"] == imported["digest"]

    code, variant, errors = work(
        tmp_path, task="quantise", manifest=imported["uri"], digest=imported["digest"], quantisation="Q8_0"
    )
    assert code == 0, errors
    path = ObjectStore.from_url(f"file://{tmp_path / 'objects'}").local_path(key_of(variant["uri"]))
    assert path is not None
    assert path.read_bytes()[:4] == b"GGUF"


async def test_a_calibrated_variant_differs_from_the_plain_one_in_its_bytes_alone(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", ["the bin was not emptied", "a lamp is broken in the park"] * 20, hidden=256)
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    imported = work(tmp_path, task="import", source=await upload(tmp_path, files))[1]
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    talk = [{"role": "user", "content": "a lamp is broken"}, {"role": "assistant", "content": "in the park"}]
    pq.write_table(pa.Table.from_pylist([{"messages": talk}]), tmp_path / "rows.parquet")
    rows = await store.put_file("dataset/rows.parquet", tmp_path / "rows.parquet")
    wanted = {"manifest": imported["uri"], "digest": imported["digest"], "quantisation": "Q4_K_M"}

    plain = work(tmp_path, task="quantise", **wanted)[1]
    code, calibrated, errors = work(tmp_path, task="quantise", **wanted, calibration=rows)

    assert code == 0, errors
    assert calibrated["note"] == "14 matrices weighed by an importance matrix of 1 rows"
    assert calibrated["size_bytes"] == plain["size_bytes"]
    assert calibrated["digest"] != plain["digest"]
    code, refused, _ = work(tmp_path, task="quantise", **wanted, calibration=rows, calibration_digest="sha256:0")
    assert (code, refused["error"]["reason"]) == (64, "BAD_SOURCE")


STAND_IN = """
import json, shutil, sys
from pathlib import Path

spec = json.loads(Path(sys.argv[-1]).read_text())
shutil.copytree(spec["model"], spec["output"], ignore=shutil.ignore_patterns(".blobs", "tokenizer*"))
(Path(spec["output"]) / "recipe.yaml").write_text("not kept")
Path(sys.argv[-1]).with_name("made.json").write_text('{"group_size": 128}')
"""


async def test_weights_for_a_card_become_a_folder_with_the_tokenizer(tmp_path: Path) -> None:
    """llm-compressor's part is a stand-in here; libs/gyre_trainers/tests/test_compress.py has the real one."""
    model = tiny_llama(tmp_path / "tiny", ["a lamp is broken in the park"] * 20)
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    listed = [{"path": path.name, **await intake.put_blob(store, path)} for path in model.iterdir()]
    manifest = await intake.write_manifest(store, listed, {})
    talk = [{"role": "user", "content": "a lamp is broken"}, {"role": "assistant", "content": "in the park"}]
    pq.write_table(pa.Table.from_pylist([{"messages": talk}]), tmp_path / "rows.parquet")
    rows = await store.put_file("dataset/rows.parquet", tmp_path / "rows.parquet")
    (python := tmp_path / "python").write_text(f"#!{sys.executable}\n{STAND_IN}")
    python.chmod(0o755)
    wanted = {"manifest": manifest.uri, "digest": manifest.digest, "quantisation": "AWQ", "calibration": rows}

    code, made, errors = work(tmp_path, task="compress", python=str(python), **wanted)

    assert code == 0, errors
    assert made["note"].startswith("4-bit weights in groups of 128; calibrated on 1 conversation (")
    stored = json.loads(await store.get(key_of(made["uri"])))
    assert stored["quantisation"] == "AWQ"
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        entry["path"] for entry in stored["files"]
    }
    assert "recipe.yaml" not in {entry["path"] for entry in stored["files"]}
    assert made["size_bytes"] == sum(entry["size"] for entry in stored["files"])


async def test_without_llm_compressor_it_is_said_once_what_to_install(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", ["a lamp is broken in the park"] * 20)
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    listed = [{"path": path.name, **await intake.put_blob(store, path)} for path in model.iterdir()]
    manifest = await intake.write_manifest(store, listed, {})

    code, refused, _ = work(
        tmp_path, task="compress", manifest=manifest.uri, digest=manifest.digest, quantisation="FP8", python=""
    )

    assert (code, refused["error"]["reason"]) == (64, "LLMCOMPRESSOR_MISSING")  # 64 is never tried again
    assert "GYRE_LLMCOMPRESSOR_PYTHON" in refused["error"]["message"]


async def test_the_adapter_of_a_version_becomes_one_file_and_a_version_without_one_is_refused(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", ["a lamp is broken in the park"] * 20)
    tiny_lora(tmp_path / "adapter", model, seed=1)
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    files = {path.name: path for path in model.iterdir()}
    files |= {f"adapter/{path.name}": path for path in (tmp_path / "adapter").iterdir()}
    listed = [{"path": name, **await intake.put_blob(store, path)} for name, path in files.items()]
    trained = await intake.write_manifest(store, listed, {})
    plain = await intake.write_manifest(store, [each for each in listed if "/" not in str(each["path"])], {})

    code, adapter, errors = work(tmp_path, task="adapter", manifest=trained.uri, digest=trained.digest)
    assert code == 0, errors
    path = store.local_path(key_of(adapter["uri"]))
    assert path is not None and path.read_bytes()[:4] == b"GGUF"
    code, refused, _ = work(tmp_path, task="adapter", manifest=plain.uri, digest=plain.digest)
    assert (code, refused["error"]["reason"]) == (64, "BAD_SOURCE")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "may run code"),
        ({"../config.json": b"{}"}, "leads out"),
        ({"config.json": b'{"architectures": ["BertModel"]}', "model.safetensors": b""}, "no language model"),
        ({"readme.txt": b"hello"}, "config.json cannot be read"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "is a LoRA adapter and no model"),
    ],
)
async def test_what_must_not_be_loaded_is_refused_with_a_reason(
    tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    code, result, errors = work(tmp_path, task="import", source=await upload(tmp_path, files))
    assert code == 64
    assert says in errors
    assert says in result["error"]["message"]


async def sent(folder: Path, adapter: Path) -> str:
    """The uri of an upload with the files of `adapter`, as an import reads it."""
    store = ObjectStore.from_url(f"file://{folder / 'objects'}")
    listed = []
    for path in adapter.iterdir():
        await store.put(f"registry/uploads/u/{path.name}", path.read_bytes())
        listed.append({"path": path.name, "parts": [[f"registry/uploads/u/{path.name}", digest_of(path.read_bytes())]]})
    await store.put(f"registry/uploads/u/{LISTING}", json.dumps({"kind": "ADAPTER", "files": listed}).encode())
    return f"{UPLOADS}u"


async def imported(folder: Path, model: Path) -> dict[str, str]:
    """Manifest and digest of a version with the model's files."""
    store = ObjectStore.from_url(f"file://{folder / 'objects'}")
    listed = [{"path": path.name, **await intake.put_blob(store, path)} for path in model.iterdir()]
    made = await intake.write_manifest(store, listed, {})
    return {"manifest": made.uri, "digest": made.digest}


async def test_an_adapter_that_was_sent_is_checked_against_its_base_and_becomes_one_file(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "tiny", ["a lamp is broken in the park"] * 20)
    version = await imported(tmp_path, model)
    source = await sent(tmp_path, tiny_lora(tmp_path / "adapter", model, seed=1))

    code, adapter, errors = work(tmp_path, task="import_adapter", source=source, **version)
    assert code == 0, errors
    assert adapter["note"].startswith("LoRA of rank 4 on down_proj, gate_proj")
    of_it = {"adapter": adapter["uri"], "adapter_digest": adapter["digest"]}
    code, made, errors = work(tmp_path, task="adapter", **version, **of_it)
    assert code == 0, errors
    path = ObjectStore.from_url(f"file://{tmp_path / 'objects'}").local_path(key_of(made["uri"]))
    assert path is not None and path.read_bytes()[:4] == b"GGUF"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model` and its `adapter`."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_llama(folder / "model", ["a lamp is broken in the park"] * 20)
    tiny_lora(folder / "adapter", model, seed=1)
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"r": 8}, "has rank 4, adapter_config.json says 8"),
        ({"fan_in_fan_out": True}, "as a matrix of 64 × 256, the base has 256 × 64"),
        ({"init_lora_weights": "pissa_niter_4"}, "PEFT changed first"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "PEFT changed first"),
    ],
)
def test_an_adapter_that_does_not_go_with_its_configuration_or_base_is_refused(
    tiny: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    adapter = Path(shutil.copytree(tiny / "adapter", tmp_path / "adapter"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | changes))
    with pytest.raises(BadInput, match=says):
        arrived.about_adapter(adapter)
        arrived.check_fits(adapter, tiny / "model")


def test_a_layer_that_the_base_does_not_have_is_named(tiny: Path, tmp_path: Path) -> None:
    deeper = tmp_path / "adapter"
    shutil.copytree(tiny / "adapter", deeper)
    found = load_file(deeper / "adapter_model.safetensors")
    moved = {key.replace("layers.1.", "layers.7."): value for key, value in found.items()}
    save_file(moved, deeper / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=r"no weight of its own for model.layers.7.mlp.down_proj"):
        arrived.check_fits(deeper, tiny / "model")
