"""The picture of routes and keys: written whole, read whole, a bad one never used."""

from __future__ import annotations

import os

import pytest

from services.inference_gateway.proxy.snapshot import (
    SnapshotFile,
    Target,
    TargetState,
    from_json,
    to_json,
    write_snapshot,
)
from services.inference_gateway.proxy.tests.support import deployment, snapshot_of

SNAPSHOT = snapshot_of(
    [deployment(Target("t1", version="1", address="127.0.0.1:1", state=TargetState.DRAINING), Target("t2", weight=3))]
)


def test_a_snapshot_survives_being_written():
    assert from_json(to_json(SNAPSHOT)) == SNAPSHOT


def test_a_snapshot_cannot_be_changed():
    with pytest.raises(TypeError):
        SNAPSHOT.keys["x"] = None  # type: ignore[index]


def test_the_file_holds_no_key_and_is_the_owners_alone(tmp_path):
    path = tmp_path / "gateway" / "snapshot.json"
    write_snapshot(path, SNAPSHOT)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert "gyre-test-key" not in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["snapshot.json"]


def test_a_reader_sees_each_new_file_once(tmp_path):
    path = tmp_path / "snapshot.json"
    reader = SnapshotFile(path)
    assert reader.poll() is None
    write_snapshot(path, SNAPSHOT)
    assert reader.poll() == SNAPSHOT and reader.poll() is None
    write_snapshot(path, snapshot_of([], revision=2))
    assert reader.poll().revision == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1, "revision": 1, "keys": {"a": {"x": 1}}}']
)
def test_a_bad_file_is_told_once_and_not_used(tmp_path, text):
    path = tmp_path / "snapshot.json"
    path.write_text(text)
    reader = SnapshotFile(path)
    with pytest.raises(ValueError):
        reader.poll()
    assert reader.poll() is None and reader.failures == 1
