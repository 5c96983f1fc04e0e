"""A LoRA adapter of PEFT becomes one GGUF file that llama.cpp adds to its base while it serves.

llama.cpp stores some weights in another order than Hugging Face does, so an adapter's rows follow its base's converter:
what that does to a whole update must be what it does to the update's left factor, and this is checked for each module.

Format: `llama-adapter.cpp` of ggml-org/llama.cpp (keys `adapter.type`, `adapter.lora.alpha`; tensors `*.lora_a`,
`*.lora_b`, which it scales by alpha / rank). Where PEFT scales otherwise, the left factor makes up for it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyre_trainers.convert import converter_of
from gyre_trainers.exits import BadInput

if TYPE_CHECKING:
    from torch import Tensor

PEFT_PREFIX = "base_model.model."
REMEDY = "serve the merged model instead"


def lora_to_gguf(adapter: Path, folder: Path, target: Path) -> int:
    """Writes `target` whole or not at all and returns its size in bytes.

    `adapter` is a folder as PEFT saves it; `folder` a model of the architecture that it was trained on, of which the
    configuration and the names count, not the weights. Raises: BadInput for what llama.cpp cannot add to a base.
    """
    import gguf

    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    converter = converter_of(folder)(folder, gguf.LlamaFileType.ALL_F32, target)
    partial = target.with_name(f".{target.name}.partial")
    writer = gguf.GGUFWriter(partial, gguf.MODEL_ARCH_NAMES[converter.model_arch])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    try:
        for name, left, right in _factors(adapter):
            left = left * _correction(config, name.removesuffix(".weight"), left.shape[1])
            for new_name, rows in _reordered(converter, name, left, right):
                writer.add_tensor(f"{new_name}.lora_a", right.numpy())
                writer.add_tensor(f"{new_name}.lora_b", rows.contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _factors(adapter: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Of each module its weight's name, B (out × rank) and A (rank × in), both f32. Raises: BadInput."""
    from safetensors.torch import load_file

    found = load_file(adapter / "adapter_model.safetensors")
    for key in sorted(found):
        module, _, factor = key.removeprefix(PEFT_PREFIX).rpartition(".lora_")
        if factor == "A.weight":
            left = found.get(key.replace(".lora_A.", ".lora_B."))
            if left is None:
                raise BadInput("adapter", f"{key} has no counterpart", REMEDY)
            yield f"{module}.weight", left.float(), found[key].float()
        elif factor != "B.weight":
            raise BadInput("adapter", f"{key} is no low-rank factor of a linear layer", REMEDY)


def _correction(config: dict[str, Any], module: str, rank: int) -> float:
    """PEFT's scale of a module's update, divided by llama.cpp's; 1 but for rsLoRA and for an alpha of its own.

    Raises: BadInput.
    """
    from peft.utils.other import get_pattern_key

    patterns = config.get("alpha_pattern") or {}
    try:
        alpha = float(patterns.get(get_pattern_key(patterns.keys(), module), config["lora_alpha"]))
        own = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        return own / (float(config["lora_alpha"]) / rank)
    except (re.error, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise BadInput("adapter", f"the scale of {module} cannot be told ({error})", REMEDY) from error


def _reordered(converter: Any, name: str, left: Tensor, right: Tensor) -> list[tuple[str, Tensor]]:
    """llama.cpp's names of a weight, each with its rows of B. Raises: BadInput where A would have to change too."""
    import torch

    layer = next((int(part) for part in name.split(".") if part.isdecimal()), None)
    try:
        rows = dict(converter.modify_tensors(left, name, layer))
        whole = dict(converter.modify_tensors(left @ right, name, layer))
        same = rows.keys() == whole.keys() and all(
            torch.allclose(rows[key] @ right, whole[key], rtol=1e-4, atol=1e-6) for key in rows
        )
    except (ValueError, RuntimeError, KeyError) as error:
        raise BadInput("adapter", f"llama.cpp does not know {name} ({error})", REMEDY) from error
    if not rows or not same:
        raise BadInput("adapter", f"llama.cpp keeps {name} in a way that no adapter can follow", REMEDY)
    return list(rows.items())
