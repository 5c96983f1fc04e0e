"""LoRA adapters: their shape, and how they become part of the model again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from gyre_trainers.settings import Hyperparameters

CONFIG: Final = "adapter_config.json"
CARD: Final = "README.md"


def adapter_config(hyperparameters: Hyperparameters, *, scorer: bool = False) -> Any | None:
    """Adapters on every linear layer but the head; None where rank 0 asks for training all weights.

    A `scorer` trains its new head in full: there is nothing in it to adapt.
    """
    from peft import LoraConfig, TaskType

    if hyperparameters.lora_rank == 0:
        return None
    return LoraConfig(
        r=hyperparameters.lora_rank,
        lora_alpha=hyperparameters.lora_alpha,
        lora_dropout=hyperparameters.lora_dropout,
        target_modules="all-linear",
        bias="none",
        task_type=TaskType.SEQ_CLS if scorer else TaskType.CAUSAL_LM,
        modules_to_save=["score"] if scorer else None,
    )


def merged(model: Any) -> Any:
    """The model with its adapters added into its weights, in place; the model itself where it has none."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Writes the adapters alone: the same files for the same weights. `base` is the URI of what they belong to.

    PEFT lists the modules in the order of a set, which is another in each process, and names the base by its path on
    this machine, in a card too.
    """
    model.save_pretrained(folder)
    (folder / CARD).unlink(missing_ok=True)
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
