"""`spec.json`: what one attempt trains, from what, to where. Closed: an unknown or malformed field is named and refused."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gyre_trainers.exits import BadInput

DIGEST: Final = r"^(sha256:[0-9a-f]{64})?$"
RUN: Final = r"^projects/[^/]+/runs/[^/]+$"


class Method(StrEnum):
    SFT = "SFT"
    DPO = "DPO"
    REWARD = "REWARD"
    PPO = "PPO"
    KTO = "KTO"
    ORPO = "ORPO"
    GRPO = "GRPO"


REINFORCED: Final = frozenset({Method.PPO, Method.GRPO})  # they need a reward model


class Action(StrEnum):
    """What follows when a run is unwell; `training_scheduler.v1.Alarm.Action` says what each means."""

    WARN = "WARN"
    STOP = "STOP"
    ROLL_BACK = "ROLL_BACK"
    LOWER_LEARNING_RATE = "LOWER_LEARNING_RATE"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Artifact(Closed):
    """Weights: `gyre://…` (a folder's prefix, or the manifest that lists its files), `bundled://smollm2`,
    `hf://owner/name[@revision]` or `ms://owner/name[@revision]`. `digest` is the manifest's; empty is not checked."""

    uri: str = Field(min_length=1)
    digest: str = Field(default="", pattern=DIGEST)


class DataFile(Closed):
    """One Parquet file of a data set version. `rows` is how many it must hold; 0 is not checked."""

    uri: str = Field(min_length=1)
    digest: str = Field(default="", pattern=DIGEST)
    rows: int = Field(default=0, ge=0)


Share = Annotated[float, Field(ge=0, le=1)]


class PPO(Closed):
    """What PPO alone knows, by TRL's names. `learning_rate`, `beta` (the KL coefficient) and sizes are the common ones.

    A step is one batch of `batch_size` × `gradient_accumulation_steps` answers. Defaults are TRL 1.12's, but
    `missing_eos_penalty` and `max_grad_norm`, which it leaves off.
    """

    num_ppo_epochs: int = Field(default=4, ge=1, le=64, description="Times that each batch of answers is learned from.")
    num_mini_batches: int = Field(default=1, ge=1, le=4096, description="Optimizer steps in each of these.")
    temperature: float = Field(default=0.7, gt=0, le=10, description="Of sampling, and of all log-probabilities.")
    cliprange: float = Field(
        default=0.2, gt=0, le=10, description="How far a token's probability ratio counts: 1 ± it."
    )
    cliprange_value: float = Field(default=0.2, gt=0, description="How far a value may move in one batch.")
    vf_coef: float = Field(default=0.1, ge=0, le=100, description="Weight of the value loss.")
    gamma: Share = Field(default=1.0, description="Discount for each token.")
    lam: Share = Field(default=0.95, description="GAE's λ: 0 trusts the value model alone, 1 the rewards alone.")
    whiten_rewards: bool = Field(default=False, description="Divide rewards by their deviation within a batch.")
    missing_eos_penalty: float = Field(default=1.0, ge=0, description="Taken off the score of an answer without end.")
    kl_estimator: Literal["k1", "k3"] = Field(default="k1", description="k1 is unbiased; k3 is never negative.")
    kl_target: float | None = Field(
        default=None, gt=0, description="Nats an answer that the KL coefficient is steered to; none keeps it fixed."
    )
    kl_horizon: int = Field(default=10_000, ge=1, description="Answers over which the coefficient adapts.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Longer gradients are scaled to this.")


class Hyperparameters(Closed):
    """One set for all methods, as in `training_scheduler.v1.Hyperparameters`; a method reads those it knows.

    What is left out takes the method's own value (`DEFAULTS` of its file). The values here suit all.
    """

    epochs: float = Field(default=1, gt=0, le=1000)
    max_steps: int = Field(default=0, ge=0, description="Optimizer steps; 0 lets `epochs` decide.")
    learning_rate: float | None = Field(default=None, gt=0, le=1, description="Peak; falls to 0 linearly.")
    batch_size: int = Field(default=4, ge=1, le=4096)
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=4096)
    lora_rank: int = Field(default=8, ge=0, le=1024, description="0 trains all weights.")
    lora_alpha: int = Field(default=16, ge=1, le=4096)
    lora_dropout: Share = 0.0
    max_length: int = Field(default=512, ge=8, le=131_072, description="Tokens of one row; longer ones are cut.")
    checkpoint_every: int = Field(default=50, ge=1, description="Steps.")
    warmup_ratio: Share = 0.03
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    beta: float | None = Field(
        default=None, ge=0, le=100, description="Pull to the reference model; KL coefficient of PPO."
    )
    max_new_tokens: int = Field(default=32, ge=1, le=8192, description="PPO, GRPO.")
    num_generations: int = Field(default=4, ge=2, le=64, description="Answers to one prompt: GRPO.")
    assistant_only_loss: bool = Field(default=True, description="SFT.")
    activation_checkpointing: bool | None = Field(
        default=None, description="Forget activations and compute them again; else on cards alone."
    )
    ppo: PPO = PPO()

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if (self.batch_size * self.gradient_accumulation_steps) % self.ppo.num_mini_batches:
            raise ValueError("ppo.num_mini_batches: must divide batch_size × gradient_accumulation_steps")
        return self


class Health(Closed):
    """As `training_scheduler.v1.Health`, with its defaults; health.py says how each is measured."""

    not_finite: Action = Action.ROLL_BACK
    loss_spike: Action = Action.WARN
    divergence: Action = Action.STOP
    kl_out_of_band: Action = Action.WARN
    entropy_collapse: Action = Action.WARN
    reward_hacking: Action = Action.WARN
    spike_deviations: float = Field(default=8.0, gt=0)
    divergence_ratio: float = Field(default=2.0, gt=1)
    largest_kl: float = Field(default=20.0, gt=0, description="Nats an answer.")
    smallest_entropy_ratio: float = Field(default=0.1, ge=0, lt=1)
    largest_length_ratio: float = Field(default=2.0, gt=1)


class Spec(Closed):
    run: str = Field(pattern=RUN)
    attempt: int = Field(ge=1)
    method: Method
    base: Artifact
    reward_model: Artifact | None = None
    data: list[DataFile] = Field(min_length=1)
    output_prefix: str = Field(min_length=1)
    resume_from: str | None = None
    begin_from: Artifact | None = Field(default=None, description="A checkpoint whose weights a fresh start takes.")
    health: Health = Health()
    hyperparameters: Hyperparameters = Hyperparameters()
    seed: int = Field(default=7, ge=0, lt=2**32)
    object_store: str = Field(pattern=r"^[a-z0-9+]+://")
    report_address: str = Field(pattern=r"^.+:\d+$")
    credential_file: Path
    threads: int = Field(default=2, ge=1, le=1024)

    @model_validator(mode="after")
    def _reward_model_where_needed(self) -> Self:
        if self.method in REINFORCED and self.reward_model is None:
            raise ValueError(f"reward_model: {self.method} needs the result of a REWARD run")
        return self

    @property
    def run_prefix(self) -> str:
        """`runs/<ulid>`: below it each attempt has its own folder."""
        parts = self.output_prefix.strip("/").split("/")
        return "/".join(parts[:-1] if parts[-1].isdigit() else parts)

    @property
    def output(self) -> str:
        """`runs/<ulid>/<attempt>`: the only prefix that this attempt writes below."""
        return f"{self.run_prefix}/{self.attempt}"


def read_spec(path: Path) -> Spec:
    """Raises: BadInput that names the first wrong field and says what is wrong with it."""
    try:
        return Spec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput("spec", f"{path} cannot be read ({error.strerror})", "give the path of a spec.json") from error
    except ValidationError as error:
        raise _first_fault(error) from error


def _first_fault(error: ValidationError) -> BadInput:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"]) or "spec"
    problem = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":  # our own, which begins with the field
        inner, problem = problem.split(": ", 1)
        field = ".".join([*map(str, fault["loc"]), inner])
    return BadInput(field, problem, "correct it and create the run again")
