"""The four models of PPO, and what is asked of them."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from gyre_trainers import base, fit, lora, sampling

VALUE_MODEL: Final = "value_model.safetensors"


def load_models(job: fit.Job) -> Models:
    """On the device they train on. Raises: BadInput."""
    wanted, reward_model = job.hyperparameters, fit.needed(job.reward_model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy, value = base.load_causal_lm(job.base).to(device), base.load_scorer(reward_model).to(device)
    adapter, value_adapter = lora.adapter_config(wanted), lora.adapter_config(wanted, scorer=True)
    if adapter is None:
        return Models(
            policy, value, base.load_causal_lm(job.base).to(device), base.load_scorer(reward_model).to(device)
        )
    torch.manual_seed(job.spec.seed)  # adapters begin at random
    return Models(get_peft_model(policy, adapter), get_peft_model(value, value_adapter))


class Models:
    """`reference` and `scorer` are None where they are `policy` and `value` without adapters.

    `ids` and `attended` are rows × tokens, of which the last `width` are the answer's; so are all results, in f32.
    """

    def __init__(self, policy: Any, value: Any, reference: Any = None, scorer: Any = None) -> None:
        self.policy, self.value, self._reference, self._scorer = policy, value, reference, scorer
        for model in filter(None, (policy, value, reference, scorer)):
            model.eval()  # no dropout: the ratio of new and old probabilities would be noise
        for model in filter(None, (reference, scorer)):
            model.requires_grad_(False)

    @property
    def trainable(self) -> list[Any]:
        weights = [*self.policy.parameters(), *self.value.parameters()]
        return [weight for weight in weights if weight.requires_grad]

    def logits(self, ids: Tensor, attended: Tensor, width: int, temperature: float) -> Tensor:
        """× vocabulary: what the policy makes of each token of the answer, before it is drawn."""
        return _logits(self.policy, ids, attended, width) / temperature

    def reference_logits(self, ids: Tensor, attended: Tensor, width: int, temperature: float) -> Tensor:
        with self.policy.disable_adapter() if self._reference is None else nullcontext():
            return _logits(self._reference or self.policy, ids, attended, width) / temperature

    def values(self, ids: Tensor, attended: Tensor, width: int) -> Tensor:
        """Of the state before each token of the answer."""
        return _head(self.value, ids, attended, width)[:, :-1]

    def scores(self, ids: Tensor, attended: Tensor, lengths: Tensor, width: int) -> Tensor:
        """The reward model's, one a row, where it has read the last token of the answer."""
        with self.value.disable_adapter() if self._scorer is None else nullcontext():
            read = _head(self._scorer or self.value, ids, attended, width)
        return read.gather(1, lengths.unsqueeze(1)).squeeze(1)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.policy.save_pretrained(folder)
        trained = {name: weight for name, weight in self.value.named_parameters() if weight.requires_grad}
        save_file({name: weight.detach().contiguous() for name, weight in trained.items()}, folder / VALUE_MODEL)

    def load(self, folder: Path) -> None:
        if isinstance(self.policy, PeftModel):
            set_peft_model_state_dict(self.policy, load_peft_weights(os.fspath(folder), device="cpu"))
        else:
            self.policy.load_state_dict(load_file(folder / "model.safetensors"), strict=False)  # tied ones stored once
        self.value.load_state_dict(load_file(folder / VALUE_MODEL), strict=False)  # the frozen ones are the base's


def _logits(model: Any, ids: Tensor, attended: Tensor, width: int) -> Tensor:
    found: Tensor = model(**_inputs(ids, attended), logits_to_keep=width + 1).logits
    return found[:, :-1].float()


def _head(model: Any, ids: Tensor, attended: Tensor, width: int) -> Tensor:
    """The score head's output before the answer and after each of its tokens: rows × (width + 1)."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    backbone = getattr(inner, inner.base_model_prefix)
    hidden = backbone(**_inputs(ids, attended)).last_hidden_state[:, -width - 1 :]
    found: Tensor = inner.score(hidden).squeeze(-1)
    return found.float()


def _inputs(ids: Tensor, attended: Tensor) -> dict[str, Any]:
    return {
        "input_ids": ids,
        "attention_mask": attended.long(),
        "position_ids": sampling.positions_of(attended),
        "use_cache": False,
    }
