"""What can be set of a run. The scheduler, the API, the command line and the console take names, defaults, bounds and
help from here: `methods.py` says which method reads what, and has the settings that one method alone knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

MOST_STEPS: Final = 10_000_000


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Share = Annotated[float, Field(ge=0, le=1)]


def setting(default: Any, title: str, zh: str, help: str = "", zh_help: str = "", **bounds: Any) -> Any:
    """A field with its name and its help for people, in English and Chinese."""
    words: dict[str, JsonValue] = {"title": zh}
    if zh_help:
        words["description"] = zh_help
    return Field(default=default, title=title, description=help or None, json_schema_extra={"x-zh": words}, **bounds)


class Own(Closed):
    """Settings of one method. `fault` finds what is wrong with them beside the common ones."""

    @property
    def needs_reward_model(self) -> bool:
        return False

    def fault(self, common: Hyperparameters) -> tuple[str, str] | None:
        """Field below `hyperparameters`, and what is wrong with it."""
        return None


OwnSettings = TypeVar("OwnSettings", bound=Own)


class Hyperparameters(Closed):
    """One set for all methods, as in `training_scheduler.v1.Hyperparameters`; a method reads those it knows.

    What is left out takes the method's own value (`LEARNING_RATE` and its like in its file). The values here suit all.
    """

    epochs: float = setting(1.0, "Passes over the data", "训练轮数", gt=0, le=1000)
    max_steps: int = setting(
        0, "Steps at most", "最大步数", "0 lets the passes decide.", "0 表示由训练轮数决定。", ge=0, le=MOST_STEPS
    )
    learning_rate: float | None = setting(
        None, "Learning rate", "学习率", "The peak; falls to 0.", "峰值，随后降至 0。", gt=0, le=1
    )
    batch_size: int = setting(4, "Batch size", "批大小", "Rows in one pass.", "一次计算的行数。", ge=1, le=4096)
    gradient_accumulation_steps: int = setting(
        1, "Gradient accumulation", "梯度累积步数", "Passes that make a step.", "每步包含的计算次数。", ge=1, le=4096
    )
    lora_rank: int = setting(8, "LoRA rank", "LoRA 秩", "0 trains all weights.", "0 表示训练全部权重。", ge=0, le=1024)
    lora_alpha: int = setting(16, "LoRA alpha", "LoRA 缩放系数", ge=1, le=4096)
    lora_dropout: Share = setting(0.0, "LoRA dropout", "LoRA 丢弃率")
    max_length: int = setting(
        512, "Tokens in a row", "每行最大词元数", "Longer rows are cut.", "更长的行会被截断。", ge=8, le=131_072
    )
    checkpoint_every: int = setting(50, "Steps between checkpoints", "检查点间隔步数", ge=1, le=MOST_STEPS)
    warmup_ratio: Share = setting(
        0.03, "Warm-up share", "预热比例", "Steps in which the learning rate rises.", "学习率上升阶段所占步数。"
    )
    weight_decay: float = setting(0.0, "Weight decay", "权重衰减", ge=0, le=1)
    beta: float | None = setting(
        None,
        "Pull to the reference",
        "参考模型约束强度",
        "How hard the model is held near where it began; the KL coefficient of PPO.",
        "模型被约束在初始状态附近的强度；对 PPO 即 KL 系数。",
        ge=0,
        le=100,
    )
    max_new_tokens: int = setting(32, "Tokens in an answer", "回答最大词元数", ge=1, le=8192)
    num_generations: int = setting(4, "Answers to a prompt", "每个提示的回答数", ge=2, le=64)
    assistant_only_loss: bool = setting(True, "Learn from answers alone", "仅学习助手回答")
    activation_checkpointing: bool | None = setting(
        None, "Compute activations again", "重算激活值", "Slower, but less memory.", "更慢，但更省内存。"
    )
    own: dict[str, Any] = {}  # what the method alone knows

    def own_of(self, kind: type[OwnSettings]) -> OwnSettings:
        """The method's own settings, defaults filled in. A spec that was read has been checked."""
        return kind.model_validate(self.own)

    @property
    def step_rows(self) -> int:
        """Rows of one optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps


class Action(StrEnum):
    """What follows when a run is unwell; `training_scheduler.v1.Alarm.Action` says what each means."""

    WARN = "WARN"
    STOP = "STOP"
    ROLL_BACK = "ROLL_BACK"
    LOWER_LEARNING_RATE = "LOWER_LEARNING_RATE"


class Health(Closed):
    """What is watched for, as `training_scheduler.v1.Health`, with its defaults; health.py says how it is measured."""

    not_finite: Action = setting(
        Action.ROLL_BACK,
        "No number",
        "非数值",
        "Loss or gradient norm is no finite number.",
        "损失或梯度范数不是有限数。",
    )
    loss_spike: Action = setting(
        Action.WARN, "Loss spike", "损失突增", "One loss far above those before it.", "某步损失远高于此前各步。"
    )
    divergence: Action = setting(
        Action.STOP,
        "Divergence",
        "发散",
        "The loss rises and stays far above its best.",
        "损失上升并持续远高于最佳值。",
    )
    kl_out_of_band: Action = setting(
        Action.WARN, "Too far from the reference", "偏离参考模型", "The divergence is above its limit, or below zero.",
        "散度超出上限或低于零。",
    )  # fmt: skip
    entropy_collapse: Action = setting(
        Action.WARN, "Collapse", "熵塌缩", "The answers have lost their variety.", "回答失去多样性。"
    )
    reward_hacking: Action = setting(
        Action.WARN, "Reward hacking", "奖励作弊", "The reward rises while answers grow much longer or repeat themselves.",
        "奖励上升的同时回答明显变长或重复。",
    )  # fmt: skip
    spike_deviations: float = setting(
        8.0, "Limit of a spike", "突增界限", "Robust standard deviations above the median.", "高于中位数的稳健标准差倍数。",
        gt=0, lt=1e6,
    )  # fmt: skip
    divergence_ratio: float = setting(
        2.0,
        "Limit of divergence",
        "发散界限",
        "Mean loss by its best mean.",
        "平均损失与其最佳均值之比。",
        gt=1,
        lt=1e6,
    )
    largest_kl: float = setting(20.0, "Largest KL", "KL 上限", "Nats an answer.", "每个回答的奈特数。", gt=0, lt=1e6)
    smallest_entropy_ratio: float = setting(
        0.1, "Smallest entropy", "熵下限", "By that of the first steps.", "与最初若干步之比。", ge=0, lt=1
    )
    largest_length_ratio: float = setting(
        2.0, "Largest growth of answers", "回答增长上限", "Length or repetition by that of the first steps.",
        "长度或重复率与最初若干步之比。", gt=1, lt=1e6,
    )  # fmt: skip


class BadSetting(ValueError):
    """A setting is unknown or out of its range; set it as the method's schema says. `field` is below
    `hyperparameters`."""

    def __init__(self, field: str, problem: str, value: Any = None) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem, self.value = field, problem, value


def checked(own: type[Own], given: Mapping[str, Any]) -> tuple[Hyperparameters, Own]:
    """The settings of a method whose own ones are `own`. Raises: BadSetting for the first that is wrong."""
    try:
        common = Hyperparameters.model_validate(given)
    except ValidationError as error:
        raise bad_setting(error, Hyperparameters) from error
    try:
        theirs = own.model_validate(common.own)
    except ValidationError as error:
        raise bad_setting(error, own, "own") from error
    if fault := theirs.fault(common):
        raise BadSetting(*fault)
    return common, theirs


def bad_setting(error: ValidationError, kind: type[Closed], *above: str) -> BadSetting:
    """The first fault; `above` is where the settings of this `kind` lie."""
    fault = error.errors(include_url=False)[0]
    field = ".".join([*above, *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        return BadSetting(field, f"is no setting of this method{_meant(str(fault['loc'][-1]), kind)}", fault["input"])
    return BadSetting(field, fault["msg"].replace("Input should be", "must be"), fault["input"])


def _meant(name: str, kind: type[Closed]) -> str:
    near = get_close_matches(name, [*kind.model_fields, *Hyperparameters.model_fields], n=1)
    if near:
        return f" ({near[0]} is)"
    return f" (beside the common ones it has {', '.join(kind.model_fields)})" if kind.model_fields else ""


def properties(kind: type[Closed], names: Iterable[str]) -> dict[str, Any]:
    """JSON Schema of some of its fields. What may be unset is left without a default rather than null; `x-order` is the
    place at which people should see it, for a Struct keeps none."""
    schema = kind.model_json_schema()
    found = {name: _simple(schema["properties"][name], schema.get("$defs", {})) for name in names}
    return {name: {**one, "x-order": order} for order, (name, one) in enumerate(found.items())}


def _simple(schema: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    named = shared.get(schema.get("$ref", "").removeprefix("#/$defs/"), {})
    merged = {**named, **schema, **(options[0] if options else {})}
    return {name: value for name, value in merged.items() if name not in ("anyOf", "$ref") and value is not None}
