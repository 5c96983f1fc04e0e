from __future__ import annotations

import json
from pathlib import Path

import pytest
from gyre_trainers.exits import BadInput
from gyre_trainers.spec import Spec, read_spec

GOOD = {
    "run": "projects/acme/runs/one",
    "attempt": 3,
    "method": "SFT",
    "base": {"uri": "bundled://smollm2"},
    "data": [{"uri": "gyre://dataset/rows.parquet"}],
    "output_prefix": "runs/one",
    "object_store": "memory://",
    "report_address": "127.0.0.1:1",
    "credential_file": "/nowhere",
}


@pytest.mark.parametrize("prefix", ["runs/one", "runs/one/", "runs/one/1", "runs/one/3"])
def test_the_attempt_decides_where_the_output_goes(prefix: str) -> None:
    spec = Spec.model_validate({**GOOD, "output_prefix": prefix})

    assert (spec.run_prefix, spec.output) == ("runs/one", "runs/one/3")


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_file_that_is_no_json_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(content)

    with pytest.raises(BadInput, match=r"^spec: "):
        read_spec(tmp_path / "spec.json", Spec)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_spec(tmp_path / "spec.json", Spec)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key != "base"}))

    with pytest.raises(BadInput, match=r"^base: Field required"):
        read_spec(path, Spec)
