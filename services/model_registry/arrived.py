"""Files of an upload, put together again by the job that imports them, and looked into.

Adapter: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gyre_kit import gguf
from gyre_kit.storage import ObjectStore, key_of
from gyre_trainers.exits import BadInput

from services.model_registry import files

REMEDY = "send the files again"
PEFT_PREFIX = "base_model.model."
MERGE = "merge it into its base and import that"
# Ways to begin that take something out of the base's weights: the adapter fits what was left of them alone.
CHANGED_BASE = ("pissa", "olora", "corda", "loftq")


async def assemble(store: ObjectStore, source: str, target: Path) -> Path:
    """The folder `target` with every file, each part checked against its digest. Raises: BadInput."""
    target.mkdir(parents=True)
    try:
        listing = json.loads(await store.get(f"{key_of(source)}/{files.LISTING}"))
        for file in listing["files"]:
            files.check_name(file["path"])
            with (target / file["path"]).open("wb") as out:
                for key, digest in file["parts"]:
                    seen = hashlib.sha256()
                    async for chunk in store.chunks(key):
                        seen.update(chunk)
                        out.write(chunk)
                    if f"sha256:{seen.hexdigest()}" != digest:
                        raise BadInput("source", f"a part of {file['path']} is damaged", REMEDY)
    except FileNotFoundError as error:
        raise BadInput("source", f"{source} is not there any more", REMEDY) from error
    return target


def about_gguf(path: Path) -> dict[str, Any]:
    """What its header says; `shape` is what the size of its KV cache follows from. Raises: BadInput."""
    try:
        header = gguf.read_header(path)
    except ValueError as error:
        raise BadInput("source", str(error), "send it again from a good copy") from error
    if not header.architecture:
        raise BadInput("source", f"{path.name} names no architecture", "convert the model again by llama.cpp")
    if header.metadata.get("general.type", "model") != "model":
        raise BadInput("source", f"{path.name} is no model", "import the GGUF of the whole model")
    own = f"{header.architecture}."
    numbers = {
        name.removeprefix(own): value
        for name, value in header.metadata.items()
        if name.startswith(own) and isinstance(value, int)
    }
    return {
        "architecture": header.architecture,
        "parameters": header.parameters,
        "quantisation": header.quantisation,
        "shape": numbers,
    }


def about_adapter(folder: Path) -> dict[str, Any]:
    """Raises: BadInput for what is no LoRA, or asks for code of its own."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        kind, rank, modules = config["peft_type"], int(config["r"]), config["target_modules"]
        tensors = files.tensors_of(folder / "adapter_model.safetensors")
    except files.NotSafetensors as error:
        raise BadInput("source", error.message, REMEDY) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "source", f"adapter_config.json cannot be used ({error!r})", "save the adapter by PEFT"
        ) from error
    if kind != "LORA" or config.get("auto_mapping"):
        raise BadInput("source", f"{str(kind)[:40]} is not a plain LoRA adapter", MERGE)
    if config.get("layer_replication") or str(config.get("init_lora_weights")).lower().startswith(CHANGED_BASE):
        raise BadInput("source", "the adapter was trained on a base whose weights or layers PEFT changed first", MERGE)
    if not any(".lora_A." in name for name in tensors):
        raise BadInput("source", "adapter_model.safetensors has no LoRA matrices", "save the adapter by PEFT")
    targets = [modules] if isinstance(modules, str) else sorted(modules)
    return {"rank": rank, "target_modules": targets, "base": str(config.get("base_model_name_or_path") or "")}


def check_fits(adapter: Path, base: Path) -> None:
    """Each pair of an adapter's factors must make an update of a weight that `base` has: B (out × rank) · A (rank × in).
    Names and shapes are read, no numbers. Raises: BadInput, saying what does not fit.
    """
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    weights = {name: each for path in base.glob("*.safetensors") for name, each in files.tensors_of(path).items()}
    factors = files.tensors_of(adapter / "adapter_model.safetensors")
    for key in sorted(key for key in factors if key.endswith(".lora_A.weight")):
        module = key.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight")
        left, right = factors.get(key.replace(".lora_A.", ".lora_B.")), factors[key]
        if left is None or len(left["shape"]) != 2 or len(right["shape"]) != 2:
            raise BadInput("source", f"{module} has no pair of LoRA matrices", "save the adapter by PEFT")
        (out, rank), (own_rank, width) = left["shape"], right["shape"]
        if rank != own_rank or not (config.get("rank_pattern") or rank == config["r"]):
            ranks = " and ".join(str(each) for each in sorted({rank, own_rank}))
            raise BadInput(
                "source",
                f"{module} has rank {ranks}, adapter_config.json says {config['r']}",
                "save the adapter by PEFT",
            )
        _check_weight(module, _weight_of(weights, module), [out, width], bool(config.get("fan_in_fan_out")))


def _weight_of(weights: dict[str, dict[str, Any]], module: str) -> dict[str, Any] | None:
    """Some folders of weights leave the model's own prefix out."""
    return weights.get(f"{module}.weight") or weights.get(f"{module.partition('.')[2]}.weight")


def _check_weight(module: str, weight: dict[str, Any] | None, update: list[int], is_turned: bool) -> None:
    """Raises: BadInput."""
    remedy = "name the version that it was trained on as its base"
    if weight is None:
        raise BadInput("base", f"the base has no weight of its own for {module}, which the adapter changes", remedy)
    shape = weight["shape"][::-1] if is_turned else weight["shape"]
    if shape != update:
        sizes = " × ".join(map(str, update)), " × ".join(map(str, shape))
        raise BadInput(
            "base", f"the adapter changes {module} as a matrix of {sizes[0]}, the base has {sizes[1]}", remedy
        )
