"""An importance matrix of the domain's own conversations, and what it does to a quantised file."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gyre_trainers import convert, imatrix, quantize, testing
from gyre_trainers.data import Row
from gyre_trainers.exits import BadInput
from gyre_trainers.imatrix import Importance

ROWS: list[Row] = [
    {
        "messages": [
            {"role": "user", "content": "the bus was late"},
            {"role": "assistant", "content": "a crew will come"},
        ]
    }
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    testing.tiny_llama(folder / "hf", ["the bus was late", "a crew will come"] * 20, vocabulary=300, hidden=256)
    convert.to_gguf(folder / "hf", folder / "full.gguf")
    return folder


@pytest.fixture(scope="module")
def importance(model: Path) -> Importance:
    return imatrix.measure(model / "hf", ROWS)


def test_every_linear_layer_but_the_head_has_the_mean_square_of_its_inputs(importance: Importance) -> None:
    layers = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert set(importance) == {f"blk.{block}.{layer}.weight" for block in (0, 1) for layer in layers}
    assert importance["blk.0.ffn_down.weight"].shape == (1024,)
    assert np.array_equal(importance["blk.0.attn_q.weight"], importance["blk.0.attn_v.weight"])
    assert importance["blk.0.attn_q.weight"].mean() == pytest.approx(1.0, rel=0.05)  # what RMSNorm leaves
    assert all((columns > 0).all() for columns in importance.values())


@pytest.mark.parametrize("name", ["Q6_K", "Q5_K_M", "Q4_K_M"])
def test_the_weighed_error_falls_and_the_file_keeps_its_types_and_size(
    name: str, model: Path, importance: Importance, tmp_path: Path
) -> None:
    plain = quantize.quantise(model / "full.gguf", tmp_path / "plain.gguf", name)
    weighed = Path(shutil.copy(plain.path, tmp_path / "weighed.gguf"))
    uneven = {name: columns * np.geomspace(0.01, 100, len(columns)) for name, columns in importance.items()}

    assert imatrix.requantise(model / "full.gguf", weighed, uneven) == len(importance)

    assert quantize.tensor_types(weighed) == quantize.tensor_types(plain.path)
    assert weighed.stat().st_size == plain.size_bytes
    before, after = errors(model / "full.gguf", plain.path, uneven), errors(model / "full.gguf", weighed, uneven)
    assert sum(after.values()) < sum(before.values())


def errors(full: Path, quantised: Path, importance: Importance) -> dict[str, float]:
    """Weighed squared error of each matrix."""
    exact = {tensor.name: values_of(tensor) for tensor in gguf.GGUFReader(full).tensors}
    return {
        tensor.name: float(np.sum((values_of(tensor) - exact[tensor.name]) ** 2 * importance[tensor.name]))
        for tensor in gguf.GGUFReader(quantised).tensors
        if tensor.name in importance
    }


def values_of(tensor: gguf.ReaderTensor) -> np.ndarray:
    return gguf.dequantize(tensor.data, tensor.tensor_type)


def test_what_takes_no_weights_stays_byte_for_byte(model: Path, importance: Importance, tmp_path: Path) -> None:
    made = quantize.quantise(model / "full.gguf", tmp_path / "q8.gguf", "Q8_0")
    before = made.path.read_bytes()
    assert imatrix.requantise(model / "full.gguf", made.path, importance) == 0
    assert made.path.read_bytes() == before


def test_the_same_rows_are_drawn_every_time_and_a_file_without_conversations_is_refused(tmp_path: Path) -> None:
    many = [{"messages": [{"role": "user", "content": str(index)}]} for index in range(imatrix.ROWS + 50)]
    pq.write_table(pa.Table.from_pylist(many), tmp_path / "rows.parquet")
    drawn = imatrix.drawn_rows(tmp_path / "rows.parquet", "")
    assert len(drawn) == imatrix.ROWS
    assert drawn == imatrix.drawn_rows(tmp_path / "rows.parquet", "")
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="messages"):
        imatrix.drawn_rows(tmp_path / "other.parquet", "")
