"""Recipes: methods with sensible values. A literal list, in the order in which people should see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LORA: Final[dict[str, float | bool]] = {
    "epochs": 3.0,
    "max_steps": 0,
    "learning_rate": 1e-3,
    "batch_size": 4,
    "gradient_accumulation_steps": 1,
    "lora_rank": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "max_length": 128,
    "checkpoint_every": 50,
    "warmup_ratio": 0.03,
    "weight_decay": 0.0,
}

# Field: lowest and highest value that the trainers take (gyre_trainers/spec.py).
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "epochs": (1e-3, 1000),
    "max_steps": (0, 10_000_000),
    "learning_rate": (1e-9, 1),
    "batch_size": (1, 4096),
    "gradient_accumulation_steps": (1, 4096),
    "lora_rank": (0, 1024),
    "lora_alpha": (1, 4096),
    "lora_dropout": (0, 1),
    "max_length": (8, 131_072),
    "checkpoint_every": (1, 10_000_000),
    "warmup_ratio": (0, 1),
    "weight_decay": (0, 1),
    "beta": (0, 100),
    "max_new_tokens": (1, 8192),
    "num_generations": (2, 64),
}


@dataclass(frozen=True)
class Recipe:
    name: str
    display_name: str
    description: str
    method: str
    hyperparameters: Mapping[str, Any]
    dataset_type: str
    needs_reward_model: bool = False


RECIPES: Final = (
    Recipe(
        "recipes/sft-lora",
        "Supervised fine-tuning (LoRA)",
        "Teaches a model to answer as the rows do; the place to start.",
        "SFT",
        LORA | {"assistant_only_loss": True},
        "SFT",
    ),
    Recipe(
        "recipes/dpo-lora",
        "Preferences (DPO, LoRA)",
        "Moves a tuned model towards chosen answers and away from rejected ones.",
        "DPO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4, "beta": 0.1},
        "PREFERENCE",
    ),
    Recipe(
        "recipes/sft-full",
        "Supervised fine-tuning (all weights)",
        "Trains every weight: more memory, and for data that LoRA cannot hold.",
        "SFT",
        LORA | {"lora_rank": 0, "learning_rate": 2e-5, "assistant_only_loss": True},
        "SFT",
    ),
    Recipe(
        "recipes/orpo-lora",
        "Imitation and preferences in one (ORPO, LoRA)",
        "Learns the chosen answers and avoids the rejected ones in one pass, without a reference model.",
        "ORPO",
        LORA | {"epochs": 1.0, "learning_rate": 2e-4, "beta": 0.1},
        "PREFERENCE",
    ),
    Recipe(
        "recipes/kto-lora",
        "Good and bad answers (KTO, LoRA)",
        "Learns from single answers marked good or bad; pairs are taken apart.",
        "KTO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4, "beta": 0.1},
        "PREFERENCE",
    ),
    Recipe(
        "recipes/reward",
        "Reward model",
        "Learns to score answers from pairs; PPO and GRPO train against its result.",
        "REWARD",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4},
        "PREFERENCE",
    ),
    Recipe(
        "recipes/ppo",
        "Reinforcement from a reward model (PPO)",
        "Generates answers and moves towards those that the reward model scores high.",
        "PPO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-5, "beta": 0.05, "max_new_tokens": 32},
        "SFT",
        needs_reward_model=True,
    ),
    Recipe(
        "recipes/grpo",
        "Reinforcement in groups (GRPO)",
        "Compares several answers to each prompt by the reward model's score.",
        "GRPO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-5, "beta": 0.04, "max_new_tokens": 32, "num_generations": 4},
        "SFT",
        needs_reward_model=True,
    ),
)


def find(name: str) -> Recipe | None:
    return next((recipe for recipe in RECIPES if recipe.name == name), None)


def default_of(method: str) -> Recipe:
    """The first recipe of `method`."""
    return next(recipe for recipe in RECIPES if recipe.method == method)


def fault(field: str, value: float) -> str:
    """What is wrong with a value, or nothing."""
    if field not in BOUNDS:
        return ""
    lowest, highest = BOUNDS[field]
    return "" if lowest <= value <= highest else f"must be from {lowest:g} to {highest:g}"
