"""The stages of a lap, in the order in which they run (`models.STAGES`).

Each is `async (context, lap) -> StageResult`: called again and again until it is done, it asks others by request ids
derived from the lap's name and remembers nothing but its `result`. So it may be killed at any line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gyre_kit.app import Context

from services.training_scheduler.lap import Lap, StageResult
from services.training_scheduler.stages.collect import collect
from services.training_scheduler.stages.data import prepare
from services.training_scheduler.stages.evaluate import evaluate
from services.training_scheduler.stages.gate import judge
from services.training_scheduler.stages.promote import promote
from services.training_scheduler.stages.register import quantise, register
from services.training_scheduler.stages.shift import shift
from services.training_scheduler.stages.train import train_dpo, train_ppo, train_reward, train_sft

Stage = Callable[[Context, Lap], Awaitable[StageResult]]

FUNCTIONS: Final[Mapping[str, Stage]] = {
    "collect": collect,
    "data": prepare,
    "sft": train_sft,
    "dpo": train_dpo,
    "reward": train_reward,
    "ppo": train_ppo,
    "register": register,
    "quantise": quantise,
    "evaluate": evaluate,
    "gate": judge,
    "promote": promote,
    "shift": shift,
}
