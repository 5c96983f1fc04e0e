"""Direct preference optimisation: TRL's DPOTrainer, its batches as trees of tokens (tree.py).

A prompt is computed once for both answers, and the reference's log-probabilities once for each row, in the first
epoch. fit.py has the measurements.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from trl import DPOConfig, DPOTrainer

from gyre_trainers import base, data, fit, lora, tokens, tree
from gyre_trainers.exits import BadInput
from gyre_trainers.methods import DPOSettings

LEARNING_RATE: Final = 1e-4
BETA: Final = 0.1
REFERENCE: Final = "reference.safetensors"


def train(job: fit.Job) -> fit.Fitted:
    """Columns: prompt, chosen, rejected. Metrics: loss, rewards/{chosen,rejected,margins,accuracies}, logps/…"""
    rows, wanted = job.rows(*data.PREFERENCE), job.hyperparameters
    tokenizer, model = base.load_tokenizer(job.base), base.load_causal_lm(job.base)
    adapter = lora.adapter_config(wanted)
    trainer = LeanDPOTrainer(
        model=model,
        ref_model=None if adapter else base.load_causal_lm(job.base),
        args=fit.arguments(
            job,
            DPOConfig,
            learning_rate=LEARNING_RATE,
            beta=BETA if wanted.beta is None else wanted.beta,
            max_length=None,  # cut below
            remove_unused_columns=False,
            **wanted.own_of(DPOSettings).model_dump(),
        ),
        data_collator=Collator(share=tree.may_share(model)),
        train_dataset=pairs(rows, tokenizer, wanted.max_length),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    return fit.fit(job, trainer, before_publishing=trainer.save_reference, on_resume=trainer.load_reference)


def pairs(rows: list[data.Row], tokenizer: Any, max_length: int) -> Any:
    """`chosen` and `rejected` as ids and labels, and a number, for each row of which both answers fit.

    Raises: BadInput if none does.
    """
    from datasets import Dataset

    encoded = [
        {side: _encode(row["prompt"], row[side], tokenizer, max_length) for side in ("chosen", "rejected")}
        for row in rows
    ]
    kept = [
        {"row": number, "prompt": "", **pair}  # TRL looks for a prompt to tell the kind of data set
        for number, pair in enumerate(encoded)
        if all(any(label != tree.IGNORED for label in side["labels"]) for side in pair.values())
    ]
    if not rows:
        raise BadInput("data", "no row has prompt, chosen and rejected", data.REMEDY)
    if not kept:
        raise BadInput("hyperparameters.max_length", "no pair is short enough to hold both answers", "raise it")
    return Dataset.from_list(kept)


def _encode(
    prompt: list[data.Message], answer: list[data.Message], tokenizer: Any, max_length: int
) -> dict[str, list[int]]:
    """All that follows the prompt is the answer, whoever speaks in it."""
    asked, ids = tokens.template_ids(tokenizer, prompt, ask=True), tokens.template_ids(tokenizer, prompt + answer)
    begin = tokens.common_beginning(asked, ids)
    labels = [tree.IGNORED] * begin + ids[begin:]
    return {"input_ids": ids[:max_length], "labels": labels[:max_length]}


class Collator:
    """Rows 0 … n-1 of the trees are chosen answers, rows n … 2n-1 rejected ones; pairs stay together."""

    def __init__(self, *, share: bool) -> None:
        self._share = share

    def __call__(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        sides = [tree.Row(pair[side]["input_ids"], pair[side]["labels"]) for pair in batch for side in SIDES]
        trees = tree.plant(sides, share=self._share)
        for planted in trees:
            number, side = planted["row_of"] // 2, planted["row_of"] % 2
            planted["row_of"] = number + side * len(batch)
        return {"trees": trees, "rows": torch.tensor([pair["row"] for pair in batch])}


SIDES: Final = ("chosen", "rejected")


class LeanDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """The losses of `DPOSettings`, on batches of `Collator`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reference_of: dict[int, torch.Tensor] = {}

    def save_reference(self, folder: Path) -> None:
        """Computed in other batches the values differ in their last bits, and so would a run that goes on from here."""
        if self._reference_of:
            rows, values = zip(*sorted(self._reference_of.items()), strict=True)
            save_file({"rows": torch.tensor(rows), "values": torch.stack(values)}, folder / REFERENCE)

    def load_reference(self, folder: Path) -> None:
        if (path := folder / REFERENCE).is_file():
            known = load_file(path, device=str(self.accelerator.device))
            self._reference_of = dict(zip(known["rows"].tolist(), known["values"], strict=True))

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset  # `pairs` has done it

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over pairs."""
        log_probabilities = answers(model, inputs)
        chosen, rejected = log_probabilities.chunk(2)
        reference_chosen, reference_rejected = self._reference(inputs)
        rewards_chosen = self.beta * (chosen - reference_chosen)
        rewards_rejected = self.beta * (rejected - reference_rejected)
        loss = self._losses(rewards_chosen, rewards_rejected, inputs).mean()
        self._total_train_tokens += sum(planted["input_ids"].numel() for planted in inputs["trees"])
        self._count(rewards_chosen.detach(), rewards_rejected.detach(), log_probabilities.detach())
        return (loss, {}) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody asks, and the Trainer's estimate wants padded batches

    def _losses(self, chosen: torch.Tensor, rejected: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """Of each pair, from its rewards, β · log(π / π_ref).

        sigmoid: Rafailov 2023, eq. 7; robust: Chowdhury 2024; hinge: Zhao 2023; ipo: Azar 2023, eq. 17, by token.
        """
        margin = chosen - rejected
        if self.loss_types == ["hinge"]:
            return torch.relu(1 - margin)
        if self.loss_types == ["ipo"]:
            chosen_length, rejected_length = lengths(inputs).chunk(2)
            return ((chosen / chosen_length - rejected / rejected_length) / self.beta - 1 / (2 * self.beta)) ** 2
        wrong = self.label_smoothing if self.loss_types == ["robust"] else 0.0
        right_way, wrong_way = functional.logsigmoid(margin), functional.logsigmoid(-margin)
        return (wrong * wrong_way - (1 - wrong) * right_way) / (1 - 2 * wrong)

    def _reference(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of the frozen reference, chosen and rejected."""
        rows: list[int] = inputs["rows"].tolist()
        if any(row not in self._reference_of for row in rows):
            policy = self.accelerator.unwrap_model(self.model)
            frozen = policy.disable_adapter() if self.ref_model is None else nullcontext()
            with torch.no_grad(), frozen:
                found = answers(self.ref_model or policy, inputs)
            self._reference_of.update(zip(rows, torch.stack(found.chunk(2), dim=1), strict=True))
        chosen, rejected = torch.stack([self._reference_of[row] for row in rows]).unbind(dim=1)
        return chosen, rejected

    def _count(self, chosen: torch.Tensor, rejected: torch.Tensor, log_probabilities: torch.Tensor) -> None:
        metrics = self._metrics["train"]
        metrics["num_tokens"] = [self._total_train_tokens]
        metrics["rewards/chosen"].append(chosen.mean().item())
        metrics["rewards/rejected"].append(rejected.mean().item())
        metrics["rewards/margins"].append((chosen - rejected).mean().item())
        metrics["rewards/accuracies"].append((chosen > rejected).float().mean().item())
        for side, values in zip(SIDES, log_probabilities.chunk(2), strict=True):
            metrics[f"logps/{side}"].append(values.mean().item())


def answers(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Log-probability of each answer, the sum over its tokens: chosen ones first."""
    sums = torch.zeros(2 * len(inputs["rows"]), device=inputs["rows"].device)
    for planted in inputs["trees"]:
        of_tokens = -functional.cross_entropy(tree.logits_of(model, planted), planted["targets"], reduction="none")
        sums = sums.index_add(0, planted["row_of"], of_tokens)
    return sums


def lengths(inputs: dict[str, Any]) -> torch.Tensor:
    """Tokens of each answer, in the same order."""
    counted = torch.zeros(2 * len(inputs["rows"]), device=inputs["rows"].device)
    for planted in inputs["trees"]:
        counted = counted.index_add(0, planted["row_of"], torch.ones_like(planted["row_of"], dtype=counted.dtype))
    return counted
