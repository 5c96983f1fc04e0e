"""LoRA adapters: their shape, and how they become part of the model again."""

from __future__ import annotations

from typing import Any

from gyre_trainers.settings import Hyperparameters


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
