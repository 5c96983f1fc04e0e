"""The header of a GGUF file, read without the library that makes such files (it is training's) and without its weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

STRING, ARRAY = 8, 9
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
KEPT_ARRAY = 4096  # longer ones (vocabularies) are skipped
MOST_DIMENSIONS = 8
NO_POOLING, RANK = 0, 4  # llama.cpp's `llama_pooling_type`; RANK is for rerankers
# llama.cpp's `llama_ftype`, as far as it makes files that are in use.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 25: "IQ4_NL", 30: "IQ4_XS",
    32: "BF16", 38: "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """`metadata` has every value but long arrays; `parameters` counts the numbers of all tensors."""

    metadata: dict[str, Any]
    tensor_count: int
    parameters: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name, for example `llama` or `qwen3`."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def quantisation(self) -> str:
        """Such as `Q4_K_M`; empty where the file does not say."""
        return FILE_TYPES.get(self.metadata.get("general.file_type", -1), "")

    @property
    def makes_embeddings(self) -> bool:
        """True if the model says itself how its tokens' vectors become one."""
        pooling = self.metadata.get(f"{self.architecture}.pooling_type", NO_POOLING)
        return pooling not in (NO_POOLING, RANK)


def read_header(path: Path) -> Header:
    """Raises: ValueError if it is no GGUF, or a tensor begins behind the end of the file."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"{path.name} is no GGUF file")
            _, tensors, pairs = _unpack(file, "IQQ")
            metadata = {}
            for _ in range(pairs):
                name, kind = _text(file, size), _unpack(file, "I")[0]
                metadata[name] = _value(file, kind, size)
            found = [_tensor(file, size) for _ in range(tensors)]
            begin = file.tell()
    except (struct.error, KeyError, UnicodeDecodeError, OverflowError, OSError) as error:
        raise ValueError(f"the header of {path.name} cannot be read") from error
    if any(begin + offset > size for _, offset in found):
        raise ValueError(f"{path.name} is cut off")
    return Header(
        {name: value for name, value in metadata.items() if value is not None}, tensors, sum(n for n, _ in found)
    )


def _tensor(file: BinaryIO, size: int) -> tuple[int, int]:
    """How many numbers it has, and where they begin. Its name and type are passed over."""
    _text(file, size)
    dimensions = _unpack(file, "I")[0]
    if dimensions > MOST_DIMENSIONS:
        raise ValueError("the header describes a tensor that cannot be")
    shape = _unpack(file, f"{dimensions}Q")
    _, offset = _unpack(file, "IQ")
    return prod(shape), offset


def _value(file: BinaryIO, kind: int, size: int) -> Any:
    """None for an array that is passed over."""
    if kind == STRING:
        return _text(file, size)
    if kind != ARRAY:
        return _unpack(file, FORMATS[kind])[0]
    of, length = _unpack(file, "IQ")
    if of == STRING:
        for _ in range(length):
            _skip(file, _unpack(file, "Q")[0], size)
        return None
    if length > KEPT_ARRAY:
        _skip(file, length * struct.calcsize(f"<{FORMATS[of]}"), size)
        return None
    return list(_unpack(file, f"{length}{FORMATS[of]}"))


def _text(file: BinaryIO, size: int) -> str:
    length = _unpack(file, "Q")[0]
    if length > size:
        raise ValueError("the header has a text that is longer than the file")
    return file.read(length).decode("utf-8", "replace")


def _skip(file: BinaryIO, length: int, size: int) -> None:
    """Never past the end: a header that counts wrong must not keep anybody busy."""
    if file.tell() + length > size:
        raise ValueError("the header leads out of the file")
    file.seek(length, 1)


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    form = f"<{form}"
    return struct.unpack(form, file.read(struct.calcsize(form)))
