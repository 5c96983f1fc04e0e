"""Recipes: methods with sensible values. A literal list, in the order in which people should see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format
from gyre.training_scheduler.v1 import run_pb2
from gyre_trainers.methods import METHODS, Method, settings_of

LORA: Final[dict[str, Any]] = {
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
GROUPS: Final[dict[str, Any]] = {
    "epochs": 1.0,
    "learning_rate": 1e-5,
    "beta": 0.04,
    "max_new_tokens": 32,
    "num_generations": 4,
}
WITHOUT_DROPOUT: Final = {name: value for name, value in LORA.items() if name != "lora_dropout"}


@dataclass(frozen=True)
class Recipe:
    name: str
    display_name: str
    description: str
    method: str
    hyperparameters: Mapping[str, Any]

    @property
    def dataset_type(self) -> str:
        return METHODS[Method(self.method)].rows

    @property
    def needs_reward_model(self) -> bool:
        _, own = settings_of(Method(self.method), self.hyperparameters)
        return own.needs_reward_model


RECIPES: Final = (
    Recipe(
        "recipes/sft-lora",
        "Supervised fine-tuning (LoRA)",
        "Teaches a model to answer as the rows do; the place to start.",
        "SFT",
        LORA | {"assistant_only_loss": True},
    ),
    Recipe(
        "recipes/dpo-lora",
        "Preferences (DPO, LoRA)",
        "Moves a tuned model towards chosen answers and away from rejected ones.",
        "DPO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4, "beta": 0.1},
    ),
    Recipe(
        "recipes/sft-full",
        "Supervised fine-tuning (all weights)",
        "Trains every weight: more memory, and for data that LoRA cannot hold.",
        "SFT",
        LORA | {"lora_rank": 0, "learning_rate": 2e-5, "assistant_only_loss": True},
    ),
    Recipe(
        "recipes/orpo-lora",
        "Imitation and preferences in one (ORPO, LoRA)",
        "Learns the chosen answers and avoids the rejected ones in one pass, without a reference model.",
        "ORPO",
        LORA | {"epochs": 1.0, "learning_rate": 2e-4, "beta": 0.1},
    ),
    Recipe(
        "recipes/kto-lora",
        "Good and bad answers (KTO, LoRA)",
        "Learns from single answers marked good or bad; pairs are taken apart.",
        "KTO",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4, "beta": 0.1},
    ),
    Recipe(
        "recipes/reward",
        "Reward model",
        "Learns to score answers from pairs; PPO and GRPO train against its result.",
        "REWARD",
        LORA | {"epochs": 1.0, "learning_rate": 1e-4},
    ),
    Recipe(
        "recipes/ppo",
        "Reinforcement from a reward model (PPO)",
        "Generates answers and moves towards those that the reward model scores high.",
        "PPO",
        WITHOUT_DROPOUT | {"epochs": 1.0, "learning_rate": 1e-5, "beta": 0.05, "max_new_tokens": 32},
    ),
    Recipe(
        "recipes/grpo",
        "Reinforcement in groups (GRPO)",
        "Compares several answers to each prompt by the reward model's score.",
        "GRPO",
        LORA | GROUPS,
    ),
    Recipe(
        "recipes/grpo-graders",
        "Reinforcement by what can be checked (GRPO)",
        "Compares several answers to each prompt by whether they are right; no reward model is needed.",
        "GRPO",
        LORA | GROUPS | {"own": {"graders": ["exact"]}},
    ),
    Recipe(
        "recipes/cpt-lora",
        "Continued pre-training (LoRA)",
        "Learns all that the texts say, before a model is taught to answer.",
        "CPT",
        LORA | {"epochs": 1.0, "learning_rate": 2e-4, "max_length": 512},
    ),
)


def find(name: str) -> Recipe | None:
    return next((recipe for recipe in RECIPES if recipe.name == name), None)


def default_of(method: str) -> Recipe:
    """The first recipe of `method`."""
    return next(recipe for recipe in RECIPES if recipe.method == method)


QUICK_STEPS: Final = 20
BEST_STEP_ROWS: Final = 16
BEST_RANK: Final = 32
BEST_LENGTH: Final = 1024
BEST_GENERATIONS: Final = 8


def with_preset(recipe: Recipe, preset: run_pb2.Preset.ValueType) -> dict[str, Any]:
    """Its values, changed by the preset."""
    values = dict(recipe.hyperparameters)
    if preset == run_pb2.PRESET_QUICK_LOOK:
        values |= {"max_steps": QUICK_STEPS, "checkpoint_every": QUICK_STEPS}
    if preset == run_pb2.PRESET_BEST:
        passes = -(-BEST_STEP_ROWS // values["batch_size"])
        values |= {"epochs": 2 * values["epochs"], "gradient_accumulation_steps": passes, "max_length": BEST_LENGTH}
        if values["lora_rank"]:
            values |= {"lora_rank": BEST_RANK, "lora_alpha": 2 * BEST_RANK}
        if "num_generations" in values:
            values["num_generations"] = BEST_GENERATIONS
    return values


def hyperparameters(
    recipe: Recipe, preset: run_pb2.Preset.ValueType = run_pb2.PRESET_BALANCED
) -> run_pb2.Hyperparameters:
    """Every setting that the method reads, its own ones too."""
    values = with_preset(recipe, preset)
    _, own = settings_of(Method(recipe.method), values)
    found: run_pb2.Hyperparameters = json_format.ParseDict(values, run_pb2.Hyperparameters())
    if known := own.model_dump(mode="json", exclude_none=True):
        found.own.update(known)
    return found
