"""GGUF files made smaller by llama.cpp's own quantiser (about 1 s for 135 M parameters), and what became of the tensors.

K-quants store blocks of 256 numbers. Where a matrix is of another width, as SmolLM2's 576, llama.cpp falls back on a
type with blocks of 32, which is larger; the note says how often, so that nobody wonders at the size.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# name → (llama.cpp's file type, the tensor types that the name promises)
QUANTISATIONS: Final[dict[str, tuple[int, frozenset[str]]]] = {
    "Q8_0": (7, frozenset({"Q8_0"})),
    "Q6_K": (18, frozenset({"Q6_K"})),
    "Q5_K_M": (17, frozenset({"Q5_K", "Q6_K"})),
    "Q4_K_M": (15, frozenset({"Q4_K", "Q6_K"})),
}
UNQUANTISED: Final = frozenset({"F32"})  # norms and other vectors stay as they are


class UnknownQuantisation(ValueError):
    """The name is none of QUANTISATIONS."""


@dataclass(frozen=True)
class Quantised:
    path: Path
    size_bytes: int
    note: str  # empty where every matrix has a type that the name promises


def quantise(source: Path, target: Path, name: str, *, threads: int = 2) -> Quantised:
    """Quantises the F32, F16 or BF16 file `source` into `target`, whole or not at all.

    Raises: UnknownQuantisation; RuntimeError if llama.cpp cannot read or write.
    """
    from cyllama.llama import llama_cpp

    if name not in QUANTISATIONS:
        raise UnknownQuantisation(f"{name} is none of {', '.join(QUANTISATIONS)}")
    file_type, promised = QUANTISATIONS[name]
    params = llama_cpp.LlamaModelQuantizeParams()
    params.ftype, params.nthread = file_type, threads
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        llama_cpp.disable_logging()
        llama_cpp.model_quantize(str(source), str(partial), params)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return Quantised(target, target.stat().st_size, fallback_note(tensor_types(target), promised))


def tensor_types(path: Path) -> Counter[str]:
    """How many tensors of each ggml type the file holds. (`gguf.GGUFReader` parses the vocabulary first: 5 s.)"""
    from cyllama.llama import llama_cpp
    from gguf import GGMLQuantizationType

    tensors = llama_cpp.GGUFContext.from_file(str(path)).get_all_tensor_info()
    return Counter(GGMLQuantizationType(tensor["type"]).name for tensor in tensors)


def fallback_note(types: Counter[str], promised: frozenset[str]) -> str:
    """One sentence on the matrices that could not have a promised type; empty where there are none."""
    matrices = {name: count for name, count in types.items() if name not in UNQUANTISED}
    fallbacks = {name: count for name, count in matrices.items() if name not in promised}
    if not fallbacks:
        return ""
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(fallbacks.items()))
    total = sum(matrices.values())
    return f"{sum(fallbacks.values())} of {total} matrices fell back ({kinds}): 256 does not divide their width"
