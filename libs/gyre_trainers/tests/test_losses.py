"""The two losses of our own say what TRL's say, on the same rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from gyre_trainers import base, dpo, lora, sft, testing, tokens
from gyre_trainers.settings import Hyperparameters
from torch.nn import functional
from trl import DPOConfig, DPOTrainer, SFTConfig

PAIRS = [
    {"prompt": "the bus is late", "chosen": "a crew will come today", "rejected": "no"},
    {"prompt": "no water", "chosen": "soon", "rejected": "call again some other day"},
    {"prompt": "who is there", "chosen": "the city hotline", "rejected": "nobody at all"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [text for pair in PAIRS for text in pair.values()] * 20
    return testing.tiny_llama(tmp_path_factory.mktemp("tiny"), texts, vocabulary=300)


def conversational() -> list[dict[str, Any]]:
    return [
        {side: [{"role": "user" if side == "prompt" else "assistant", "content": text}] for side, text in pair.items()}
        for pair in PAIRS
    ]


@pytest.mark.parametrize("share", [True, False])
def test_a_tree_gives_the_loss_and_gradients_of_rows_computed_one_by_one(
    share: bool, folder: Path, tmp_path: Path
) -> None:
    tokenizer, model = base.load_tokenizer(folder), base.load_causal_lm(folder)
    rows = [{"messages": row["prompt"] + row["chosen"]} for row in conversational()]
    dataset = tokens.training_rows(rows, tokenizer, max_length=100, assistant_only=False)
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        bf16=False,
        activation_checkpointing=False,
        max_length=None,
        loss_type="nll",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    collator = sft.Collator(share=share)
    trainer = sft.LeanSFTTrainer(
        model=model, args=args, data_collator=collator, train_dataset=dataset, processing_class=tokenizer
    )
    batch = collator(list(dataset))

    together = trainer.compute_loss(model, batch)
    separate = torch.cat([one_by_one(model, row) for row in dataset]).mean()

    assert len(batch["trees"]) == (1 if share else len(rows))
    assert together.item() == pytest.approx(separate.item(), rel=1e-5)
    gradients = torch.autograd.grad(together, list(model.parameters()))
    expected = torch.autograd.grad(separate, list(model.parameters()))
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "accumulated"), [(3, 1), (1, 3)])
def test_the_loop_weighs_every_labelled_token_the_same(
    batch_size: int, accumulated: int, folder: Path, tmp_path: Path
) -> None:
    tokenizer, model = base.load_tokenizer(folder), base.load_causal_lm(folder)
    rows = [{"messages": row["prompt"] + row["chosen"]} for row in conversational()]
    dataset = tokens.training_rows(rows, tokenizer, max_length=100, assistant_only=True)
    with torch.no_grad():
        expected = torch.cat([one_by_one(model, row) for row in dataset]).mean().item()
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        bf16=False,
        activation_checkpointing=False,
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulated,
        max_length=None,
        loss_type="nll",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = sft.LeanSFTTrainer(
        model=model,
        args=args,
        data_collator=sft.Collator(share=True),
        train_dataset=dataset,
        processing_class=tokenizer,
    )

    trainer.train()

    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-3)


def one_by_one(model: Any, row: dict[str, list[int]]) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
    targets = torch.tensor(row["labels"][1:])
    return functional.cross_entropy(logits, targets, reduction="none")[targets != tokens.IGNORED]


@pytest.mark.parametrize(
    ("loss_type", "label_smoothing"), [("sigmoid", 0.0), ("robust", 0.2), ("hinge", 0), ("ipo", 0)]
)
def test_a_shared_prompt_gives_the_loss_and_gradients_of_trls_dpo(
    loss_type: str, label_smoothing: float, folder: Path, tmp_path: Path
) -> None:
    own = {"loss_type": loss_type, "label_smoothing": label_smoothing}
    ours, theirs = (dpo_loss(kind, folder, tmp_path, **own) for kind in (dpo.LeanDPOTrainer, DPOTrainer))

    assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        torch.testing.assert_close(gradient, theirs[1][name], rtol=2e-3, atol=1e-6, msg=name)


def dpo_loss(kind: Any, folder: Path, tmp_path: Path, **own: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one batch with an adapter that is not zero any more."""
    lean = kind is dpo.LeanDPOTrainer
    tokenizer, rows = base.load_tokenizer(folder), conversational()
    args = DPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        beta=0.3,
        max_length=None,
        bf16=False,
        activation_checkpointing=False,
        remove_unused_columns=not lean,
        **own,
    )
    trainer = kind(
        model=base.load_causal_lm(folder),
        args=args,
        data_collator=dpo.Collator(share=True) if lean else None,
        train_dataset=dpo.pairs(rows, tokenizer, 100) if lean else Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora.adapter_config(Hyperparameters()),
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    torch.manual_seed(1)
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    for name in sorted(trained):
        trained[name].data.normal_(std=0.1)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in trained.items() if weight.grad is not None}


@pytest.mark.parametrize(("batch_size", "accumulated"), [(3, 1), (1, 3)])
def test_preferences_begin_at_the_loss_of_a_coin_however_batches_accumulate(
    batch_size: int, accumulated: int, folder: Path, tmp_path: Path
) -> None:
    tokenizer = base.load_tokenizer(folder)
    args = DPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        bf16=False,
        activation_checkpointing=False,
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulated,
        max_length=None,
        remove_unused_columns=False,
    )
    trainer = dpo.LeanDPOTrainer(
        model=base.load_causal_lm(folder),
        args=args,
        data_collator=dpo.Collator(share=True),
        train_dataset=dpo.pairs(conversational(), tokenizer, 100),
        processing_class=tokenizer,
        peft_config=lora.adapter_config(Hyperparameters()),
    )

    trainer.train()

    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), rel=1e-4)
