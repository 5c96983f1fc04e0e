"""What the planner is asked about, and what it may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gyre_trainers.methods import METHODS, Method

from services.training_scheduler.planning.architecture import Architecture

Device = Literal["cpu", "card"]


@dataclass(frozen=True)
class Settings:
    """What one process trains with. `batch` rows go through in one pass, `accumulation` passes make a step."""

    batch: int
    accumulation: int
    checkpointing: bool
    quantised: bool = False  # the frozen base in 4 bits (NF4)
    zero_stage: int = 0
    ranks: int = 1
    offload: bool = False  # optimizer states in the host's memory

    @property
    def rows(self) -> int:
        """Rows of one optimizer step."""
        return self.batch * self.accumulation * self.ranks


@dataclass(frozen=True)
class Job:
    """`rows` to train on; hyperparameters with every default filled in; `scorer` is the reward model's shape."""

    method: str
    architecture: Architecture
    rows: int
    hyperparameters: Mapping[str, Any]
    scorer: Architecture | None = None

    @property
    def rank(self) -> int:
        return int(self.hyperparameters["lora_rank"])

    @property
    def length(self) -> int:
        return int(self.hyperparameters["max_length"])

    @property
    def answer(self) -> int:
        """Tokens sampled for one answer: PPO, GRPO."""
        return int(self.hyperparameters.get("max_new_tokens", 0)) if self.method in SAMPLING else 0

    @property
    def passes(self) -> int:
        """Times that one batch of answers is learned from: PPO, GRPO."""
        if self.method not in PASSES:
            return 1
        own = METHODS[Method(self.method)].own.model_validate(self.hyperparameters.get("own", {}))
        return int(getattr(own, PASSES[self.method]))

    @property
    def trained(self) -> int:
        """Parameters that learn, in the policy."""
        shape = self.architecture
        return shape.lora_parameters(self.rank) if self.rank else shape.parameters

    def asked(self, device: Device) -> Settings:
        """As the hyperparameters say; where they are silent, checkpointing is for cards (gyre_trainers/fit.py)."""
        batch = int(self.hyperparameters["batch_size"])
        if self.method == "GRPO":  # rounded up to whole groups (gyre_trainers/grpo.py)
            group = int(self.hyperparameters.get("num_generations", 4))
            batch = -(-batch // group) * group
        return Settings(
            batch=batch,
            accumulation=int(self.hyperparameters["gradient_accumulation_steps"]),
            checkpointing=bool(self.hyperparameters.get("activation_checkpointing", device == "card")),
        )


SAMPLING: Final = frozenset({"PPO", "GRPO"})
PASSES: Final = {"PPO": "num_ppo_epochs", "GRPO": "num_iterations"}
