from __future__ import annotations

from pathlib import Path

import pytest
from gyre_trainers import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"12345")
    manifest.write(tmp_path, {"kind": "result", "step": 3})
    return tmp_path


def test_a_manifest_vouches_for_every_file(folder: Path) -> None:
    content = manifest.verified(folder)

    assert content is not None
    assert content["step"] == 3
    assert [entry["path"] for entry in content["files"]] == ["model/weights"]


@pytest.mark.parametrize("damage", [b"1234", b"54321"])
def test_a_shorter_or_changed_file_is_noticed(damage: bytes, folder: Path) -> None:
    (folder / "model" / "weights").write_bytes(damage)

    assert manifest.verified(folder) is None


def test_a_missing_file_or_manifest_is_noticed(folder: Path) -> None:
    (folder / "model" / "weights").unlink()
    assert manifest.verified(folder) is None
    (folder / manifest.NAME).write_text("{")
    assert manifest.verified(folder) is None
