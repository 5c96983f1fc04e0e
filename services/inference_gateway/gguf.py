"""One fact out of a GGUF's header, read without the library that makes such files (it is training's).

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
NO_POOLING, RANK = 0, 4  # llama.cpp's `llama_pooling_type`; RANK is for rerankers


def makes_embeddings(path: Path) -> bool:
    """True if the model says itself how its tokens' vectors become one. Raises: ValueError if it is no GGUF."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"{path.name} is no GGUF file")
            _, _, pairs = struct.unpack("<IQQ", file.read(20))
            for _ in range(pairs):
                name, kind = _text(file), _uint32(file)
                if name.endswith(b".pooling_type"):
                    return _uint32(file) not in (NO_POOLING, RANK)
                _skip(file, kind)
    except (struct.error, KeyError) as error:
        raise ValueError(f"the header of {path.name} cannot be read") from error
    return False


def _skip(file: BinaryIO, kind: int, count: int = 1) -> None:
    if kind == STRING:
        for _ in range(count):
            file.seek(_uint64(file), 1)
    elif kind == ARRAY:
        of, length = _uint32(file), _uint64(file)
        _skip(file, of, length)
    else:
        file.seek(SIZES[kind] * count, 1)


def _text(file: BinaryIO) -> bytes:
    return file.read(_uint64(file))


def _uint32(file: BinaryIO) -> int:
    value: int = struct.unpack("<I", file.read(4))[0]
    return value


def _uint64(file: BinaryIO) -> int:
    value: int = struct.unpack("<Q", file.read(8))[0]
    return value
