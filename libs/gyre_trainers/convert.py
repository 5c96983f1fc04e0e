"""A Hugging Face folder becomes one GGUF file (ggml's converter, in this process: it needs torch and about 6 s)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

from gyre_trainers.exits import BadInput

# What llama.cpp calls a byte-level BPE's way of splitting text, by the pre-tokenizer that tokenizer.json declares.
# ggml's converter knows a tokenizer by the hash of one encoded text, which a new vocabulary never matches.
PRE_TOKENIZERS: dict[str, str] = {"Digits+ByteLevel": "smollm", "ByteLevel": "gpt-2"}

Precision = Literal["f32", "f16", "bf16"]


def to_gguf(folder: Path, target: Path, precision: Precision = "bf16") -> int:
    """Writes `target` whole or not at all and returns its size in bytes.

    Raises: BadInput for an architecture or a tokenizer that llama.cpp does not know.
    """
    import gguf

    file_types = {
        "f32": gguf.LlamaFileType.ALL_F32,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        converter_of(folder)(folder, file_types[precision], partial).write()
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def tensor_names(folder: Path, layers: int) -> Any:
    """gguf's map from the names of the folder's modules to those of GGUF tensors. Raises: BadInput as `to_gguf`."""
    import gguf

    return gguf.get_tensor_name_map(converter_of(folder).model_arch, layers)


def converter_of(folder: Path) -> Any:
    """The class that reads models of the folder's architecture. Raises: BadInput as `to_gguf`."""
    return _converter(_architecture(folder))


def _architecture(folder: Path) -> str:
    try:
        names = json.loads((folder / "config.json").read_text("utf-8")).get("architectures")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput("base", f"config.json cannot be read ({error})", "give a Hugging Face model folder") from error
    if not names:
        raise BadInput("base", "config.json names no architecture", "add `architectures` to config.json")
    return str(names[0])


@cache
def _converter(architecture: str) -> Any:
    from conversion import get_model_class  # type: ignore[import-untyped]

    try:
        found = get_model_class(architecture)
    except NotImplementedError as error:
        raise BadInput("base", f"llama.cpp does not know {architecture}", "serve this model by vLLM") from error

    class Converter(found):  # type: ignore[misc, valid-type]
        model_arch = found.model_arch  # the base class wants it in each subclass itself

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            try:
                return str(super().get_vocab_base_pre(tokenizer))
            except NotImplementedError:
                return pre_tokenizer_name(self.dir_model)

    return Converter


def pre_tokenizer_name(folder: Path) -> str:
    """llama.cpp's name of the pre-tokenizer of `folder`. Raises: BadInput if it has none that we know."""
    declared = json.loads((folder / "tokenizer.json").read_text("utf-8")).get("pre_tokenizer") or {}
    parts = declared.get("pretokenizers", [declared])
    shape = "+".join(part.get("type", "none") for part in parts)
    if shape not in PRE_TOKENIZERS or any(part.get("use_regex") is False for part in parts):
        raise BadInput("base", f"llama.cpp has no pre-tokenizer `{shape}`", "serve this model by vLLM")
    return PRE_TOKENIZERS[shape]
