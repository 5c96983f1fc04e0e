"""What runs in llm-compressor's environment: `python -I llmcompressor_run.py SPEC`. It imports nothing of Gyre.

llmcompressor wants another transformers than we train with, so it lives in an environment of its own. SPEC is JSON:
{"model": folder of safetensors, "output": folder to write, "quantisation": AWQ, GPTQ or FP8, "rows": a file of JSON
lines {"input_ids": [...]}, empty for FP8}. Beside SPEC it leaves made.json: {"group_size": columns that share a scale, 0
for FP8}. `output` then has the weights in compressed-tensors' format, and a config.json that says so.

Exits: 0 done; 64 it cannot be made of this model; 69 there is no llmcompressor. Both say why in the last line of stderr.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DONE, BAD_MODEL, NO_PACKAGE = 0, 64, 69
KEPT = ("lm_head",)  # the output head stays as it is, as in llm-compressor's own recipes
GROUPS = (128, 64, 32)  # columns that may share a scale: the first that divides every width. vLLM has kernels for these


class CannotBeMade(ValueError):
    """Of this model."""


def main(spec_file: Path) -> int:
    if find_spec("llmcompressor") is None:
        return _fail(NO_PACKAGE, f"{sys.executable} has no llmcompressor")
    spec = json.loads(spec_file.read_text())
    try:
        made = compress(Path(spec["model"]), Path(spec["output"]), spec["quantisation"], spec["rows"])
    except (ValueError, KeyError, NotImplementedError) as error:
        return _fail(BAD_MODEL, " ".join(str(error).split()) or type(error).__name__)
    spec_file.with_name("made.json").write_text(json.dumps(made))
    return DONE


def compress(source: Path, output: Path, quantisation: str, rows: str) -> dict[str, Any]:
    """On a card where there is one. With rows it goes layer by layer, so that one layer at a time must fit on the card.

    Raises: CannotBeMade, and what llmcompressor says of a model that it does not know.
    """
    from llmcompressor import oneshot

    _allow_no_card()
    model = _load(source)
    size = 0 if quantisation == "FP8" else _group_size(model)
    calibration = _calibration(rows, output.parent / "datasets") if rows else {}
    oneshot(model=model, recipe=_recipe(quantisation, size), **calibration)
    model.save_pretrained(output, save_compressed=True)
    return {"group_size": size}


def _allow_no_card() -> None:
    """AWQ of 0.14.0.1 pins memory to copy it to a card, which fails where there is none."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda self, *_: None


def _load(source: Path) -> Any:
    """In 16 bits, as it will be served. Raises: CannotBeMade where weights are missing."""
    import torch
    from transformers import AutoModelForCausalLM

    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    model, report = AutoModelForCausalLM.from_pretrained(source, dtype="auto", output_loading_info=True, **options)
    if missing := sorted(report["missing_keys"]):
        raise CannotBeMade(f"weights are missing, {missing[0]} first")
    return model.to(torch.bfloat16) if model.dtype is torch.float32 else model


def _group_size(model: Any) -> int:
    """Raises: CannotBeMade."""
    import torch

    widths = {
        module.in_features
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in KEPT
    }
    for size in GROUPS:
        if not any(width % size for width in widths):
            return size
    odd = min(width for width in widths if width % GROUPS[-1])
    raise CannotBeMade(f"{GROUPS[-1]} does not divide the width of its matrices ({odd})")


def _calibration(rows: str, cache: Path) -> dict[str, Any]:
    """All rows, in their order."""
    from datasets import load_dataset

    dataset = load_dataset("json", data_files=rows, split="train", cache_dir=str(cache))
    return {
        "dataset": dataset,
        "num_calibration_samples": len(dataset),
        "shuffle_calibration_samples": False,
        "pipeline": "sequential",
    }


def _recipe(quantisation: str, group_size: int) -> list[Any]:
    """As in llm-compressor's examples: 4-bit weights with 16-bit activations, or both in 8-bit floats."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    if quantisation == "FP8":
        return [QuantizationModifier(targets=["Linear"], scheme="FP8_DYNAMIC", ignore=list(KEPT))]
    weights = QuantizationArgs(
        num_bits=4, type="int", strategy="group", group_size=group_size, symmetric=quantisation == "GPTQ"
    )
    groups = {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}
    if quantisation == "GPTQ":
        return [GPTQModifier(config_groups=groups, ignore=list(KEPT))]
    return [AWQModifier(), QuantizationModifier(config_groups=groups, ignore=list(KEPT))]


def _fail(code: int, message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
