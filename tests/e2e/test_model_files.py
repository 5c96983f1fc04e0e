"""A model from a person's machine and back onto it: broken off and gone on with, by real parts and ranges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gguf import GGUFWriter
from gyre.model_registry.v1.fit_pb2 import Fit
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target
from gyre_trainers.testing import tiny_llama

from tests.conftest import Running

PROJECT = "parcels"


class BrokenOff(Exception):
    """What a lost connection is to the one who sends."""


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_llama(tmp_path_factory.mktemp("weights") / "tiny", ["a lamp is broken in the park"] * 20, hidden=512)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    return folder


def sent_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".bin"}


def test_a_folder_is_sent_in_two_goes_and_comes_back_as_it_was(
    running: Running, gyre: Gyre, folder: Path, tmp_path: Path
) -> None:
    def break_off(path: str, here: int, _: int) -> None:
        if path == "model.safetensors" and here > 8_000_000:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        gyre.model_uploads.send(folder, "tiny", break_off)
    left = next(gyre.model_uploads.list(filter="state=OPEN"))
    assert 8_000_000 < left.received_bytes < left.size_bytes

    done = running.command("models", "upload", "tiny", str(folder), "--licence", "MIT", "-p", PROJECT, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == left.uri  # the same upload, gone on with
    out = tmp_path / "out"
    done = running.command("models", "export", "tiny@1", str(out), "-p", PROJECT, "--json")
    assert done.returncode == 0, done.stderr
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: mit\n")
    assert sent_files(out) == sent_files(folder) | {"README.md": card.encode()}


def test_what_was_fetched_is_not_fetched_again_and_never_kept_where_it_is_damaged(
    gyre: Gyre, folder: Path, tmp_path: Path
) -> None:
    variant = gyre.models.variant_name("tiny@1:hf")
    file = next(each for each in gyre.model_files.of(variant) if each.path == "model.safetensors")
    whole = (folder / file.path).read_bytes()
    target_path = tmp_path / file.path
    partial = tmp_path / f".{file.path}.{file.digest[7:19]}.partial"
    received: list[int] = []

    partial.write_bytes(b"x" * (len(whole) - 10))
    with pytest.raises(GyreError) as caught:
        gyre.model_files.fetch(variant, file, target_path, lambda _, here, total: received.append(here))
    assert (caught.value.reason, received) == ("FILE_DAMAGED", [len(whole)])
    assert list(tmp_path.iterdir()) == []

    partial.write_bytes(whole[:-10])
    gyre.model_files.fetch(variant, file, target_path)
    assert target_path.read_bytes() == whole


def test_a_model_that_no_machine_has_the_memory_for_is_not_deployed(
    running: Running, gyre: Gyre, tmp_path: Path
) -> None:
    done = running.command("models", "upload", "vast", str(_vast_gguf(tmp_path)), "-p", PROJECT, "--json")
    assert done.returncode == 0, done.stderr

    fit = gyre.models.fit("vast@1:f16")

    assert fit.verdict == Fit.VERDICT_TOO_LARGE
    assert fit.kv_cache_bytes == 2 * 10_000 * 65_536 * 2 * 8192
    assert "nearest flavor" in running.command("models", "show", "vast", "-p", PROJECT).stdout
    with pytest.raises(GyreError) as caught:
        gyre.deployments.create("vast", [target(gyre.models.variant_name("vast@1:f16"))])
    assert caught.value.reason == "TOO_LARGE_FOR_FLAVORS"
    assert "the nearest flavor" in caught.value.message


def _vast_gguf(folder: Path) -> Path:
    """A header that promises more layers than fit anywhere, and weights of nothing."""
    import numpy

    path = folder / "vast.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(10_000)
    writer.add_embedding_length(65_536)
    writer.add_head_count(512)
    writer.add_file_type(1)
    writer.add_tensor("token_embd.weight", numpy.zeros((2, 32), dtype=numpy.float16))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path
