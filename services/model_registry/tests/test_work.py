"""The real worker, as a process, on a tiny model and on files that must not be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gyre_kit.storage import ObjectStore, key_of
from gyre_trainers.testing import tiny_llama, tiny_lora

from services.model_registry import intake


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
    ],
)
async def test_what_must_not_be_loaded_is_refused_with_a_reason(
    tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    code, result, errors = work(tmp_path, task="import", source=await upload(tmp_path, files))
    assert code == 64
    assert says in errors
    assert says in result["error"]["message"]
