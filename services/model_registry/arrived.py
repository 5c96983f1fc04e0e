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
        raise BadInput(
            "source", f"{str(kind)[:40]} is not a plain LoRA adapter", "merge it into its base and import that"
        )
    if not any(".lora_A." in name for name in tensors):
        raise BadInput("source", "adapter_model.safetensors has no LoRA matrices", "save the adapter by PEFT")
    targets = [modules] if isinstance(modules, str) else sorted(modules)
    return {"rank": rank, "target_modules": targets, "base": str(config.get("base_model_name_or_path") or "")}
