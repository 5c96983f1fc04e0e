"""Direct preference optimisation (TRL's DPOTrainer), with each pair's prompt computed once.

A batch is one sequence: for each pair the prompt, the chosen and the rejected answer. The mask lets both answers see
their prompt and neither the other; positions count from the prompt. The head sees answers alone, and the reference's
log-probabilities are remembered by row from the first epoch on. `fit.SPEED` has the measurements.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import torch
from torch.nn import functional
from trl import DPOConfig, DPOTrainer

from gyre_trainers import base, data, fit, lora
from gyre_trainers.exits import BadInput
from gyre_trainers.tokens import common_beginning, template_ids

LEARNING_RATE: Final = 1e-4
BETA: Final = 0.1


def train(job: fit.Job) -> fit.Fitted:
    """Columns: prompt, chosen, rejected. Metrics: loss, rewards/{chosen,rejected,margins,accuracies}, logps/…"""
    rows, wanted = job.rows(*data.PREFERENCE), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    adapter = lora.adapter_config(wanted)
    args = fit.arguments(
        job,
        DPOConfig,
        learning_rate=LEARNING_RATE,
        beta=BETA if wanted.beta is None else wanted.beta,
        max_length=None,  # cut below
        remove_unused_columns=False,
    )
    trainer = LeanDPOTrainer(
        model=base.load_causal_lm(job.base),
        ref_model=None if adapter else base.load_causal_lm(job.base),
        args=args,
        data_collator=Flatten(),
        train_dataset=data.preferences(rows),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.train_dataset = encoded(rows, tokenizer, wanted.max_length)
    return fit.fit(job, trainer)


def encoded(rows: list[data.Row], tokenizer: Any, max_length: int) -> Any:
    """`prompt_ids`, `chosen_ids`, `rejected_ids` and a number for each pair of which both sides fit.

    Raises: BadInput if none does.
    """
    from datasets import Dataset

    pairs = [_encode(row, tokenizer, max_length) for row in rows]
    kept = [{"row": at, **pair} for at, pair in enumerate(pairs) if pair["chosen_ids"] and pair["rejected_ids"]]
    if not kept:
        raise BadInput("hyperparameters.max_length", "no pair is short enough to hold both answers", "raise it")
    return Dataset.from_list(kept)


def _encode(row: data.Row, tokenizer: Any, max_length: int) -> dict[str, list[int]]:
    prompt = template_ids(tokenizer, row["prompt"], ask=True)
    chosen = template_ids(tokenizer, row["prompt"] + row["chosen"])
    rejected = template_ids(tokenizer, row["prompt"] + row["rejected"])
    shared = min(common_beginning(prompt, chosen), common_beginning(prompt, rejected))
    return {
        "prompt_ids": prompt[:shared],
        "chosen_ids": chosen[shared:max_length],
        "rejected_ids": rejected[shared:max_length],
    }


class Flatten:
    """Collates pairs into one sequence with its mask, and says where the answers' tokens are predicted."""

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids: list[int] = []
        positions: list[int] = []
        pair_of: list[int] = []  # of each token: its pair,
        side_of: list[int] = []  # and 0 prompt, 1 chosen, 2 rejected
        predicted_at: list[int] = []  # of each answer's token: which token's output predicts it,
        targets: list[int] = []
        answer_of: list[int] = []  # and its answer: all chosen ones, then all rejected ones
        for number, pair in enumerate(pairs):
            prompt, asked_at = pair["prompt_ids"], len(ids) + len(pair["prompt_ids"]) - 1
            for side, part in enumerate((prompt, pair["chosen_ids"], pair["rejected_ids"])):
                begin, first = len(ids), 0 if side == 0 else len(prompt)
                ids += part
                positions += range(first, first + len(part))
                pair_of += [number] * len(part)
                side_of += [side] * len(part)
                if side:
                    predicted_at += [asked_at, *range(begin, begin + len(part) - 1)]
                    targets += part
                    answer_of += [number + (side - 1) * len(pairs)] * len(part)
        return {
            "input_ids": torch.tensor([ids]),
            "position_ids": torch.tensor([positions]),
            "attention_mask": visible(torch.tensor(pair_of), torch.tensor(side_of)),
            "predicted_at": torch.tensor(predicted_at),
            "targets": torch.tensor(targets),
            "answer_of": torch.tensor(answer_of),
            "rows": torch.tensor([pair["row"] for pair in pairs]),
        }


def visible(pair_of: torch.Tensor, side_of: torch.Tensor) -> torch.Tensor:
    """1 × 1 × tokens × tokens: whether the token of the row sees that of the column."""
    same_pair = pair_of[:, None] == pair_of[None, :]
    own_side_or_prompt = (side_of[None, :] == 0) | (side_of[:, None] == side_of[None, :])
    earlier = torch.ones(len(pair_of), len(pair_of), dtype=torch.bool).tril()
    return (same_pair & own_side_or_prompt & earlier)[None, None]


class LeanDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """The sigmoid loss alone, on batches of `Flatten`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reference_of: dict[int, torch.Tensor] = {}

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset  # `encoded` does it

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-log σ(β · ((log π/π_ref of chosen) - (log π/π_ref of rejected))), the mean over pairs (Rafailov 2023, eq. 7)."""
        log_probabilities, outputs = self._log_probabilities(model, inputs)
        chosen, rejected = log_probabilities.chunk(2)
        reference_chosen, reference_rejected = self._reference(inputs)
        rewards_chosen = self.beta * (chosen - reference_chosen)
        rewards_rejected = self.beta * (rejected - reference_rejected)
        loss = -functional.logsigmoid(rewards_chosen - rewards_rejected).mean()
        self._count(inputs, rewards_chosen.detach(), rewards_rejected.detach(), log_probabilities.detach())
        return (loss, outputs) if return_outputs else loss

    def _log_probabilities(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Of each answer the sum over its tokens: chosen ones first."""
        outputs = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=inputs["predicted_at"],
            use_cache=False,
        )
        of_tokens = -functional.cross_entropy(outputs.logits[0].float(), inputs["targets"], reduction="none")
        answers = torch.zeros(2 * len(inputs["rows"]), device=of_tokens.device)
        return answers.index_add(0, inputs["answer_of"], of_tokens), outputs

    def _reference(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of the frozen reference, which a row needs once."""
        rows: list[int] = inputs["rows"].tolist()
        if any(row not in self._reference_of for row in rows):
            policy = self.accelerator.unwrap_model(self.model)
            frozen = policy.disable_adapter() if self.ref_model is None else nullcontext()
            with torch.no_grad(), frozen:
                found, _ = self._log_probabilities(self.ref_model or policy, inputs)
            self._reference_of.update(zip(rows, torch.stack(found.chunk(2), dim=1), strict=True))
        chosen, rejected = torch.stack([self._reference_of[row] for row in rows]).unbind(dim=1)
        return chosen, rejected

    def _count(
        self, inputs: dict[str, Any], chosen: torch.Tensor, rejected: torch.Tensor, log_probabilities: torch.Tensor
    ) -> None:
        metrics = self._metrics["train"]
        self._total_train_tokens += inputs["input_ids"].numel()
        metrics["num_tokens"] = [self._total_train_tokens]
        metrics["rewards/chosen"].append(chosen.mean().item())
        metrics["rewards/rejected"].append(rejected.mean().item())
        metrics["rewards/margins"].append((chosen - rejected).mean().item())
        metrics["rewards/accuracies"].append((chosen > rejected).float().mean().item())
        for side, values in zip(("chosen", "rejected"), log_probabilities.chunk(2), strict=True):
            metrics[f"logps/{side}"].append(values.mean().item())
