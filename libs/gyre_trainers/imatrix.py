"""Importance matrices: which columns of a weight matter to the texts that a model will read.

A quantiser rounds each block of weights so that the squared error is least. With an importance matrix the error of a
weight counts as much as the inputs that it is multiplied with are large on the domain's own conversations: the mean of
x² of each column, as llama.cpp's `imatrix` measures it. Embeddings and the output head stay unweighted, as there.

The types of the tensors stay what llama.cpp chose, and so does the file but for the bytes of the weighed matrices
(libgguf has ggml's row quantisers; without weights both write the same bytes). Q8_0 takes no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gyre_trainers import base, convert
from gyre_trainers.data import Row, read_rows
from gyre_trainers.exits import BadInput
from gyre_trainers.tokens import template_ids

ROWS: Final = 128  # conversations; llama.cpp's own advice is some ten thousand tokens
LONGEST: Final = 512  # tokens of one conversation
BFLOAT16: Final = 30  # ggml's number of the type
WEIGHED: Final = frozenset({6, 7, 12, 13, 14})  # Q5_0, Q5_1, Q4_K, Q5_K, Q6_K: those of QUANTISATIONS that take weights

Importance = Mapping[str, npt.NDArray[np.float32]]  # by GGUF tensor, shape (columns,)


def drawn_rows(path: Path, digest: str, most: int = ROWS) -> list[Row]:
    """At most `most` conversations of a Parquet file, always the same ones. Raises: BadInput."""
    rows = read_rows(path, "calibration", digest=digest, columns=("messages",))
    if not rows:
        raise BadInput("calibration", "no row has messages", "pick a data set version with conversations")
    chosen = np.random.default_rng(0).permutation(len(rows))[:most]
    return [rows[index] for index in sorted(chosen)]


def measure(folder: Path, rows: Sequence[Row]) -> Importance:
    """The mean square of what each linear layer of the model in `folder` reads, column by column, over all tokens.

    Raises: BadInput.
    """
    import torch

    model, tokenizer = base.load_causal_lm(folder), base.load_tokenizer(folder)
    names = convert.tensor_names(folder, model.config.num_hidden_layers)
    squares: dict[str, Any] = {}

    def watch(name: str) -> Any:
        def add(_: Any, inputs: tuple[Any, ...]) -> None:
            seen = inputs[0].detach().float().flatten(0, -2)
            squares[name] = squares.get(name, 0) + seen.square().sum(0)

        return add

    for module_name, module in model.named_modules():
        weighed = isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
        if weighed and (name := names.get_name(module_name)):
            module.register_forward_pre_hook(watch(f"{name}.weight"))
    tokens = 0
    with torch.inference_mode():
        for row in rows:
            ids = template_ids(tokenizer, row["messages"])[:LONGEST]
            model(input_ids=torch.tensor([ids]), use_cache=False)
            tokens += len(ids)
    return {name: _positive((total / tokens).numpy()) for name, total in squares.items()}


def _positive(mean_square: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A column that was never used counts next to nothing, not nothing: a block of zeros has no best rounding."""
    floor = max(float(mean_square.mean()) * 1e-6, float(np.finfo(np.float32).tiny))
    return np.maximum(mean_square, floor).astype(np.float32)


def requantise(source: Path, quantised: Path, importance: Importance) -> int:
    """Rounds the matrices of `quantised` anew from the BF16 file `source`, by `importance`, in place.

    Returns how many were weighed: those of a type that takes weights.
    """
    import libgguf
    from cyllama.llama import llama_cpp

    full, small = (llama_cpp.GGUFContext.from_file(str(path)) for path in (source, quantised))
    originals = {tensor["name"]: tensor for tensor in full.get_all_tensor_info()}
    weighed = 0
    with source.open("rb") as read, quantised.open("r+b") as write:
        for tensor in small.get_all_tensor_info():
            columns, original = importance.get(tensor["name"]), originals[tensor["name"]]
            if columns is None or tensor["type"] not in WEIGHED or original["type"] != BFLOAT16:
                continue
            read.seek(full.data_offset + original["offset"])
            weights = _from_bfloat16(read.read(original["size"])).reshape(-1, len(columns))
            write.seek(small.data_offset + tensor["offset"])
            write.write(libgguf.quantize_rows(weights, tensor["type"], columns).tobytes())
            weighed += 1
    return weighed


def _from_bfloat16(content: bytes) -> npt.NDArray[np.float32]:
    """BF16 is the upper half of an F32."""
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
