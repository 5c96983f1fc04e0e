"""Our PPO beside TRL 1.12's, in pairs A B B A, and that it learns; figures for docs/benchmarks/ppo.json.

    python tests/load/bench_ppo.py speed [--model smollm2] [--steps 3]
    python tests/load/bench_ppo.py learn [--steps 40] [--seeds 3]

Nothing is asserted: figures belong to the machine that they were measured on. Each measurement is a process of its own,
so that its peak memory is its own; a row is kept as soon as it is there, and one that is there is not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

from gyre_trainers import run

FIGURES = ROOT / "docs" / "benchmarks" / "ppo.json"
QUESTIONS = [f"Question {at}: what about {word}?" for at, word in enumerate(["roads", "water", "parks", "waste"] * 16)]
LETTER = "e"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "learn", "one-speed", "one-learn"])
    parser.add_argument("--model", choices=["tiny", "smollm2"], default="tiny")
    parser.add_argument("--who", choices=["ours", "trl"], default="ours")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    run.bound_threads(1)
    {"speed": speed, "learn": learn, "one-speed": one_speed, "one-learn": one_learn}[options.what](options)


def speed(options: argparse.Namespace) -> None:
    for at, who in enumerate(["ours", "trl", "trl", "ours"]):
        keep(
            f"speed/{options.model}/{at}-{who}",
            ["one-speed", "--who", who, "--model", options.model, "--steps", str(options.steps)],
        )


def learn(options: argparse.Namespace) -> None:
    for seed in range(options.seeds):
        keep(f"learn/{seed}", ["one-learn", "--seed", str(seed), "--steps", str(options.steps)])


def keep(name: str, arguments: list[str]) -> None:
    """Measures in a process of its own, unless that row is there."""
    if name in rows():
        return
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    known = {**rows(), name: {**row, "load_average": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}}
    FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(name, json.dumps(row)[:300], flush=True)


def rows() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return found


def hyperparameters(**changes: Any) -> Any:
    from gyre_trainers.settings import Hyperparameters

    common = {"batch_size": 8, "max_new_tokens": 32, "beta": 0.05, "warmup_ratio": 0, "learning_rate": 1e-4}
    return Hyperparameters.model_validate({**common, **changes})


def base_folder(model: str, folder: Path) -> Path:
    from gyre_trainers import bundled, testing

    return bundled.smollm2(folder) if model == "smollm2" else testing.tiny_llama(folder, QUESTIONS, vocabulary=512)


def prompts(tokenizer: Any) -> list[list[int]]:
    from gyre_trainers import tokens

    return [tokens.template_ids(tokenizer, [{"role": "user", "content": text}], ask=True) for text in QUESTIONS]


def one_speed(options: argparse.Namespace) -> None:
    """Wall and CPU seconds of each step but the first, and the peak of the process, with adapters and random heads."""
    import torch
    from gyre_trainers import base, lora, ppo
    from gyre_trainers.ppo_models import Models
    from peft import get_peft_model

    wanted, steps = hyperparameters(), options.steps + 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = base_folder(options.model, Path(scratch) / "base")
        tokenizer = base.load_tokenizer(folder)
        torch.manual_seed(7)
        policy, value = base.load_causal_lm(folder), base.load_scorer(folder, fresh=True)
        asked, stamps = prompts(tokenizer), [(time.perf_counter(), time.process_time())]
        if options.who == "trl":
            from gyre_trainers.tests import trl_ppo
            from transformers import TrainerCallback

            class Stamp(TrainerCallback):  # type: ignore[misc]
                def on_step_end(self, *_: Any, **__: Any) -> None:
                    stamps.append((time.perf_counter(), time.process_time()))

            adapted = get_peft_model(policy, lora.adapter_config(wanted))
            if tokenizer.pad_token_id == tokenizer.eos_token_id:
                tokenizer.pad_token = tokenizer.unk_token
            models = {"model": adapted, "ref_model": None, "value_model": value, "reward_model": copy.deepcopy(value)}
            trainer = trl_ppo.trainer(models, tokenizer, asked, wanted, steps, Path(scratch))
            trainer.add_callback(Stamp())
            trainer.train()
        else:
            adapters = lora.adapter_config(wanted), lora.adapter_config(wanted, scorer=True)
            models = Models(get_peft_model(policy, adapters[0]), get_peft_model(value, adapters[1]))
            learner = ppo.Learner(models, wanted, steps, tokenizer)
            for step in range(steps):
                torch.manual_seed(ppo.seed_of(7, step))
                learner.learn(learner.collect(ppo.batch_of(asked, step, wanted.batch_size, 7)))
                stamps.append((time.perf_counter(), time.process_time()))
    wall, cpu = zip(*stamps, strict=True)
    row = {
        "wall_seconds_a_step": [round(after - before, 3) for before, after in pairwise(wall[1:])],
        "cpu_seconds_a_step": [round(after - before, 3) for before, after in pairwise(cpu[1:])],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(row))


def one_learn(options: argparse.Namespace) -> None:
    """A gold reward by rule, in the reward model's place: the share of answer tokens with an `e` in them, times ten."""
    import torch
    from gyre_trainers import base, lora, ppo
    from gyre_trainers.ppo_models import Models
    from peft import get_peft_model
    from torch import Tensor

    wanted = hyperparameters(
        batch_size=16, max_new_tokens=16, learning_rate=1e-2, beta=0.1, own={"kl_target": 6.0, "kl_horizon": 400}
    )

    class Gold(Models):
        def scores(self, ids: Tensor, attended: Tensor, lengths: Tensor, width: int) -> Tensor:
            rows = zip(ids[:, -width:].tolist(), lengths.tolist(), strict=True)
            texts = [[tokenizer.decode([token]) for token in row[:length]] for row, length in rows]
            return torch.tensor([10 * sum(LETTER in token for token in row) / len(row) for row in texts])

    with tempfile.TemporaryDirectory() as scratch:
        folder = base_folder("tiny", Path(scratch) / "base")
        tokenizer = base.load_tokenizer(folder)
        torch.manual_seed(options.seed)
        policy, value = base.load_causal_lm(folder), base.load_scorer(folder, fresh=True)
        adapters = lora.adapter_config(wanted), lora.adapter_config(wanted, scorer=True)
        models = Gold(get_peft_model(policy, adapters[0]), get_peft_model(value, adapters[1]))
        learner, asked, curve = ppo.Learner(models, wanted, options.steps, tokenizer), prompts(tokenizer), []
        for step in range(options.steps):
            torch.manual_seed(ppo.seed_of(options.seed, step))
            metrics = learner.learn(learner.collect(ppo.batch_of(asked, step, wanted.batch_size, options.seed)))
            curve.append(metrics)
    names = ["objective/scores", "objective/kl", "objective/kl_coef", "objective/entropy", "answers/eos_share"]
    names += ["val/explained_variance", "policy/clipfrac_avg"]
    print(json.dumps({name: [round(metrics[name], 3) for metrics in curve] for name in names}))


if __name__ == "__main__":
    main()
