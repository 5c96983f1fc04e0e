"""Which files make a model, and whether one is what its name says. Nothing is loaded, headers alone are read.

Safetensors: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gyre_kit.errors import Invalid

BLOBS = "registry/blobs/sha256"
UPLOADS = "gyre://registry/uploads/"  # an upload's id follows
LISTING = "listing.json"  # beside its parts: what an import reads
UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py")
KEPT = (".json", ".safetensors", ".model", ".txt", ".jinja", ".md")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
LONGEST_HEADER = 100_000_000  # bytes, the most that the safetensors library reads
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors"})
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


class UnsafeFile(Invalid):
    """The file may run code when it is loaded; save the model as safetensors and leave it out."""


class BadFileName(Invalid):
    """A file's name has letters, digits, dot, hyphen and underscore alone, and no folder."""


class FilesIncomplete(Invalid):
    """A model is config.json with *.safetensors, or one *.gguf, or adapter_config.json with adapter_model.safetensors."""


class NotSafetensors(Invalid):
    """The file is damaged or not a safetensors file; send it again from a good copy."""


class NotGguf(Invalid):
    """The file is damaged or not a GGUF file; send it again from a good copy."""


def check_name(name: str) -> None:
    """Raises: BadFileName; UnsafeFile."""
    if not NAME.fullmatch(name):
        raise BadFileName(given=name[:120])
    if name.lower().endswith(UNSAFE):
        raise UnsafeFile(file=name)
    if not name.lower().endswith((*KEPT, ".gguf")) and not name.startswith("LICENSE"):
        raise BadFileName(f"{name} belongs to no model; leave it out.", given=name)


def kind_of(names: Iterable[str]) -> str:
    """WEIGHTS, GGUF or ADAPTER. Raises: FilesIncomplete."""
    given = set(names)
    weights = {name for name in given if name.endswith(".safetensors")}
    ggufs = {name for name in given if name.endswith(".gguf")}
    if len(ggufs) == 1 and not weights:
        return "GGUF"
    if given >= ADAPTER_FILES and weights == {"adapter_model.safetensors"} and not ggufs:
        return "ADAPTER"
    if weights and "config.json" in given and not ggufs:
        return "WEIGHTS"
    raise FilesIncomplete(given=", ".join(sorted(given))[:300])


def check_beginning(name: str, beginning: bytes, size: int) -> None:
    """What the first bytes of a file of `size` bytes can tell. Raises: NotSafetensors; NotGguf."""
    if name.endswith(".safetensors"):
        length = int.from_bytes(beginning[:8], "little")
        if len(beginning) < 9 or not 2 <= length <= min(LONGEST_HEADER, size - 8) or beginning[8:9] != b"{":
            raise NotSafetensors(file=name)
    elif name.endswith(".gguf") and beginning[:4] != b"GGUF":
        raise NotGguf(file=name)


def tensors_of(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors of a safetensors file, {dtype, shape, data_offsets} by name, of which none leads out of the file.

    Raises: NotSafetensors, saying what is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        beginning = file.read(9)
        check_beginning(path.name, beginning, size)
        length = int.from_bytes(beginning[:8], "little")
        file.seek(8)
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise NotSafetensors(f"The header of {path.name} cannot be read ({error}).", file=path.name) from error
    header.pop("__metadata__", None)
    held = size - 8 - length
    try:
        covered = sum(_size_of(tensor, held) for tensor in header.values())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotSafetensors(f"A tensor of {path.name} is not described well ({error}).", file=path.name) from error
    if covered != held:
        raise NotSafetensors(
            f"{path.name} holds {held} bytes of numbers, its header describes {covered}.", file=path.name
        )
    return dict(header)


def _size_of(tensor: dict[str, Any], held: int) -> int:
    """In bytes. Raises: KeyError; TypeError; ValueError."""
    begin, end = tensor["data_offsets"]
    count = 1
    for width in tensor["shape"]:
        count *= width
    if not 0 <= begin <= end <= held or end - begin != (count * BITS[tensor["dtype"]] + 7) // 8:
        raise ValueError(f"offsets {begin} to {end}")
    return int(end - begin)
