"""The methods: what each is called, which module trains it, what it reads, and the settings that it alone knows.

A new method has its line in METHODS here, its module, and a value of the enum in run.proto. Nothing here needs torch:
the scheduler reads it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

from gyre_trainers.settings import Health, Hyperparameters, Own, Share, checked, properties, setting


class Method(StrEnum):
    SFT = "SFT"
    DPO = "DPO"
    REWARD = "REWARD"
    PPO = "PPO"
    KTO = "KTO"
    ORPO = "ORPO"
    GRPO = "GRPO"
    CPT = "CPT"


class DPOSettings(Own):
    """Variants of the loss, by TRL's names."""

    loss_type: Literal["sigmoid", "robust", "hinge", "ipo"] = setting(
        "sigmoid",
        "Loss",
        "损失函数",
        "sigmoid: DPO; robust: some pairs are wrong; hinge: SLiC; ipo: holds the margin at 1/(2β), overfits less.",
        "sigmoid：DPO；robust：部分标注有误；hinge：SLiC；ipo：将间隔保持在 1/(2β)，较不易过拟合。",
    )
    label_smoothing: float = setting(
        0.0,
        "Share of wrong pairs",
        "错误标注比例",
        "How many pairs are expected to be the wrong way round; robust alone.",
        "预计被标反的成对数据比例；仅用于 robust。",
        ge=0,
        lt=0.5,
    )

    def fault(self, common: Hyperparameters) -> tuple[str, str] | None:
        if self.loss_type == "ipo" and common.beta == 0:
            return "beta", "must be above 0, for ipo holds the margin at 1/(2β)"
        return None


class RewardSettings(Own):
    center_rewards_coefficient: float | None = setting(
        None,
        "Centring of scores",
        "评分居中系数",
        "Keeps scores near 0 (Eisenstein 2023); 0.01 is usual. Unset: not at all.",
        "使评分保持在 0 附近（Eisenstein 2023），常用 0.01；不设则不使用。",
        ge=0,
        le=1,
    )


class KTOSettings(Own):
    desirable_weight: float = setting(
        1.0,
        "Weight of good answers",
        "好回答的权重",
        "Raise the rarer of the two, up to 4 : 3 by their counts.",
        "提高较少一类的权重，按数量加权后的比例至多 4 : 3。",
        gt=0,
        le=100,
    )
    undesirable_weight: float = setting(1.0, "Weight of bad answers", "坏回答的权重", gt=0, le=100)

    def fault(self, common: Hyperparameters) -> tuple[str, str] | None:
        if common.batch_size < 2:
            return "batch_size", "must be 2 or more, for KTO compares a row with others of its batch"
        return None


class PPOSettings(Own):
    """By TRL's names. `learning_rate`, `beta` (the KL coefficient) and sizes are the common ones.

    A step is one batch of `batch_size` × `gradient_accumulation_steps` answers. Defaults are TRL 1.12's, but
    `missing_eos_penalty` and `max_grad_norm`, which it leaves off.
    """

    num_ppo_epochs: int = setting(
        4, "Passes over a batch", "每批学习轮数", "Times that each batch of answers is learned from.",
        "每批回答被学习的次数。", ge=1, le=64,
    )  # fmt: skip
    num_mini_batches: int = setting(
        1, "Parts of a batch", "小批数量", "Optimizer steps in each pass; must divide the batch.",
        "每轮的优化步数，须能整除批大小。", ge=1, le=4096,
    )  # fmt: skip
    temperature: float = setting(
        0.7, "Temperature", "采样温度", "Of sampling, and of all log-probabilities.", "用于采样及所有对数概率。",
        gt=0, le=10,
    )  # fmt: skip
    cliprange: float = setting(
        0.2, "Policy clip", "策略裁剪范围", "How far a token's probability ratio counts: 1 ± it.",
        "词元概率比的有效范围：1 ± 该值。", gt=0, le=10,
    )  # fmt: skip
    cliprange_value: float = setting(
        0.2, "Value clip", "价值裁剪范围", "How far a value may move in one batch.", "价值在一批内可变动的幅度。",
        gt=0, le=1e6,
    )  # fmt: skip
    vf_coef: float = setting(0.1, "Weight of the value loss", "价值损失权重", ge=0, le=100)
    gamma: Share = setting(1.0, "Discount", "折扣因子", "For each token.", "按词元计。")
    lam: Share = setting(
        0.95, "GAE's λ", "优势估计的 λ", "0 trusts the value model alone, 1 the rewards alone.",
        "0 表示只信价值模型，1 表示只信奖励。",
    )  # fmt: skip
    whiten_rewards: bool = setting(
        False, "Whiten rewards", "奖励标准化", "Divide rewards by their deviation within a batch.",
        "将奖励除以其在批内的标准差。",
    )  # fmt: skip
    missing_eos_penalty: float = setting(
        1.0, "Penalty without an end", "未结束惩罚", "Taken off the score of an answer without end.",
        "从未结束回答的评分中扣除。", ge=0, le=1e6,
    )  # fmt: skip
    kl_estimator: Literal["k1", "k3"] = setting(
        "k1", "KL estimator", "KL 估计方式", "k1 is unbiased; k3 is never negative.", "k1 无偏；k3 恒不为负。"
    )
    kl_target: float | None = setting(
        None, "KL target", "KL 目标值", "Nats an answer that the KL coefficient is steered to; unset keeps it fixed.",
        "KL 系数据以调节的每个回答的奈特数；不设则系数固定。", gt=0, le=1e6,
    )  # fmt: skip
    kl_horizon: int = setting(
        10_000, "KL horizon", "KL 调节范围", "Answers over which the coefficient adapts.", "系数调整所跨的回答数。",
        ge=1, le=1_000_000_000,
    )  # fmt: skip
    max_grad_norm: float = setting(
        1.0, "Longest gradient", "梯度范数上限", "Longer gradients are scaled to this.", "更长的梯度会缩放至此。",
        gt=0, le=1e12,
    )  # fmt: skip

    @property
    def needs_reward_model(self) -> bool:
        return True

    def fault(self, common: Hyperparameters) -> tuple[str, str] | None:
        if common.step_rows % self.num_mini_batches:
            return "own.num_mini_batches", "must divide batch_size × gradient_accumulation_steps"
        return None


Grader = Literal["exact", "numeric", "schema"]


def _listed(given: Any) -> Any:
    """`--set graders=exact` names one."""
    return [given] if isinstance(given, str) else given


class GRPOSettings(Own):
    """By TRL's names, with its defaults."""

    temperature: float = setting(1.0, "Temperature", "采样温度", gt=0, le=10)
    top_p: float = setting(
        1.0, "Nucleus", "核采样", "Draw from the likeliest tokens that make up this share.", "仅从累计达此比例的最可能词元中采样。",
        gt=0, le=1,
    )  # fmt: skip
    epsilon: float = setting(
        0.2, "Policy clip", "策略裁剪范围", "How far a token's probability ratio counts: 1 ± it.",
        "词元概率比的有效范围：1 ± 该值。", gt=0, lt=1,
    )  # fmt: skip
    num_iterations: int = setting(
        1, "Passes over a batch", "每批学习轮数", "Times that each batch of answers is learned from.",
        "每批回答被学习的次数。", ge=1, le=64,
    )  # fmt: skip
    loss_type: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = setting(
        "dapo", "Loss", "损失函数", "How a token's loss is weighed: dapo by the batch's tokens, grpo by its answer's.",
        "词元损失的归一方式：dapo 按整批词元，grpo 按所在回答。",
    )  # fmt: skip
    scale_rewards: Literal["group", "batch", "none"] = setting(
        "group", "Scale rewards by", "奖励缩放方式", "The deviation among a prompt's answers, the batch's, or nothing.",
        "按同一提示的回答、整批的标准差缩放，或不缩放。",
    )  # fmt: skip
    mask_truncated_completions: bool = setting(
        False,
        "Leave out answers without end",
        "忽略未结束的回答",
        "They neither reward nor punish.",
        "既不奖励也不惩罚。",
    )
    graders: Annotated[tuple[Grader, ...], BeforeValidator(_listed)] = setting(
        (), "Graders", "判分器",
        "Reward of 1 for an answer that is right: the row's very answer, its last number, or JSON of the schema. With one "
        "of them a reward model may be left out.",
        "回答正确得 1 分：与该行答案完全一致、最后一个数字相同，或为符合模式的 JSON。选用后可不指定奖励模型。",
    )  # fmt: skip
    answer_schema: str = setting(
        "", "Schema of answers", "回答的模式", "JSON Schema, for the grader of that name.", "供 schema 判分器使用的 JSON Schema。",
        max_length=20_000,
    )  # fmt: skip

    @property
    def needs_reward_model(self) -> bool:
        return not self.graders

    def fault(self, common: Hyperparameters) -> tuple[str, str] | None:
        problem = _fault_of_schema(self.answer_schema) if "schema" in self.graders else ""
        return ("own.answer_schema", problem) if problem else None


def _fault_of_schema(text: str) -> str:
    """Empty where there is none."""
    objects: list[dict[str, Any]] = []

    def met(found: dict[str, Any]) -> dict[str, Any]:
        objects.append(found)
        return found

    try:
        is_object = isinstance(json.loads(text, object_hook=met), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        return "must be a JSON Schema, for the grader `schema`"
    references = [each[key] for each in objects for key in ("$ref", "$dynamicRef") if key in each]
    if not all(isinstance(each, str) and each.startswith("#") for each in references):
        return "may refer to parts of itself alone, by `#`: nothing is fetched"
    return ""


@dataclass(frozen=True)
class About:
    """`rows` is the type of data set that it trains on; `reads` are the common settings that not every method reads;
    `ignores` those that nearly every method reads."""

    module: str
    title: str
    zh: str
    rows: Literal["SFT", "PREFERENCE"]
    own: type[Own] = Own
    reads: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


# Modules by name, for each imports its own corner of TRL, which takes seconds.
METHODS: Final[Mapping[Method, About]] = {
    Method.SFT: About("gyre_trainers.sft", "Supervised fine-tuning", "监督微调", "SFT", reads=("assistant_only_loss",)),
    Method.CPT: About("gyre_trainers.cpt", "Continued pre-training", "继续预训练", "SFT"),
    Method.DPO: About(
        "gyre_trainers.dpo", "Direct preference optimisation", "直接偏好优化", "PREFERENCE", DPOSettings, ("beta",)
    ),
    Method.REWARD: About("gyre_trainers.reward", "Reward model", "奖励模型", "PREFERENCE", RewardSettings),
    Method.PPO: About(
        "gyre_trainers.ppo",
        "Proximal policy optimisation",
        "近端策略优化",
        "SFT",  # its prompts are what comes before the last answer
        PPOSettings,
        reads=("beta", "max_new_tokens"),
        ignores=("lora_dropout", "activation_checkpointing"),
    ),
    Method.KTO: About(
        "gyre_trainers.kto", "Kahneman-Tversky optimisation", "前景理论优化", "PREFERENCE", KTOSettings, ("beta",)
    ),
    Method.ORPO: About(
        "gyre_trainers.orpo", "Odds-ratio preference optimisation", "优势比偏好优化", "PREFERENCE", reads=("beta",)
    ),
    Method.GRPO: About(
        "gyre_trainers.grpo",
        "Group-relative policy optimisation",
        "组相对策略优化",
        "SFT",
        GRPOSettings,
        reads=("beta", "max_new_tokens", "num_generations"),
    ),
}
OF_SOME: Final = frozenset(name for about in METHODS.values() for name in about.reads)
REINFORCED: Final = frozenset({Method.PPO, Method.GRPO})  # they learn from answers that they give themselves


OF_LOSS: Final = ("not_finite", "loss_spike", "divergence", "spike_deviations", "divergence_ratio")
OF_REINFORCEMENT: Final = (
    "not_finite",
    "kl_out_of_band",
    "entropy_collapse",
    "reward_hacking",
    "largest_kl",
    "smallest_entropy_ratio",
    "largest_length_ratio",
)


def health_rules(method: Method) -> tuple[str, ...]:
    """Fields of `Health` that watch this method: the size of a policy's loss says nothing."""
    return OF_REINFORCEMENT if method in REINFORCED else OF_LOSS


def health_schema_of(method: Method) -> dict[str, Any]:
    """JSON Schema of the `health` that watches a method."""
    return {"type": "object", "properties": properties(Health, health_rules(method)), "additionalProperties": False}


def settings_of(method: Method, given: Mapping[str, Any]) -> tuple[Hyperparameters, Own]:
    """Raises: BadSetting, naming the field."""
    return checked(METHODS[method].own, given)


def schema_of(method: Method) -> dict[str, Any]:
    """JSON Schema of the `hyperparameters` that a method reads; titles and help in Chinese are under `x-zh`."""
    about = METHODS[method]
    common = [
        name
        for name in Hyperparameters.model_fields
        if name != "own" and name not in about.ignores and (name in about.reads or name not in OF_SOME)
    ]
    own = {"type": "object", "properties": properties(about.own, about.own.model_fields), "additionalProperties": False}
    found = properties(Hyperparameters, common) | ({"own": own} if about.own.model_fields else {})
    return {"type": "object", "properties": found, "additionalProperties": False}
