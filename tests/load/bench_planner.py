"""What training really holds, beside what the planner says: random settings, each run in a process of its own.

    python tests/load/bench_planner.py measure [--count 42] [--seconds 1500]

`measure` draws settings (methods, shapes, lengths, batches, LoRA, checkpointing) from a fixed seed and trains two steps
of each with the real trainers; what it finds goes to docs/benchmarks/planner.json, row by row, and rows that are there
are not measured again. Every row of data is longer than max_length (shorter for reward models: TRL drops long ones), and
all of its answer has a label: the most that the settings can ask for. Nothing is asserted here; planner_table.py prints them beside the plans.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]
ROWS = ROOT / "docs" / "benchmarks" / "planner.json"
SEED = 20
LONGEST_SECONDS = 400
WORDS = ["road", "water", "park", "waste", "bridge", "street", "light", "tree", "bus", "crew", "repair", "gate"]
LARGEST_WORK = 9e10  # parameters times tokens of a step
COST = {"DPO": 2, "REWARD": 2, "KTO": 2, "ORPO": 2, "GRPO": 3, "PPO": 8}
Setting = dict[str, Any]


def draw(count: int) -> list[Setting]:
    """The first `count` settings of the seed; each third one is held out from the choice of constants."""
    rng = random.Random(SEED)
    methods = ["SFT", "DPO", "REWARD", "KTO", "ORPO", "SFT", "DPO", "REWARD", "GRPO", "SFT", "PPO"]
    return [{**_affordable(rng, methods[at % len(methods)], at), "held_out": at % 3 == 2} for at in range(count)]


def _affordable(rng: random.Random, method: str, at: int) -> Setting:
    """Drawn until a step takes seconds, not minutes."""
    while True:
        setting = _one(rng, method, at)
        shape, wanted = setting["shape"], setting["hyperparameters"]
        parameters = 135e6
        if shape:
            wide = 4 * shape["hidden_size"] ** 2 + 3 * shape["hidden_size"] * shape["intermediate_size"]
            parameters = shape["num_hidden_layers"] * wide + shape["hidden_size"] * shape["vocab_size"]
        tokens = wanted["batch_size"] * wanted["gradient_accumulation_steps"] * wanted["max_length"]
        if parameters * tokens * COST.get(method, 1) < LARGEST_WORK:
            return setting


def _one(rng: random.Random, method: str, at: int) -> Setting:
    heads = rng.choice([4, 6, 8, 9, 12])
    shape = {
        "hidden_size": 64 * heads,
        "intermediate_size": rng.choice([128, 170, 256]) * heads,
        "num_hidden_layers": rng.choice([4, 8, 12, 20]),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([heads, heads // 2 if heads % 2 == 0 else heads // 3]),
        "vocab_size": rng.choice([4096, 16384, 32000, 49152]),
        "tie_word_embeddings": rng.random() < 0.6,
    }
    samples = method in ("GRPO", "PPO")
    wanted = {
        "batch_size": rng.choice([2, 4]) if samples else rng.choice([1, 2, 4, 8][method == "KTO" :]),
        "gradient_accumulation_steps": rng.choice([1, 1, 2]),
        "max_length": rng.choice([48, 96]) if samples else rng.choice([64, 128, 256, 384]),
        "lora_rank": rng.choice([0, 8, 16]),
        "activation_checkpointing": rng.random() < 0.35,
        "max_new_tokens": 24,
    }
    if at % 5 == 4:
        shape = {}  # SmolLM2-135M
        wanted["batch_size"] = min(wanted["batch_size"], 4)
        wanted["max_length"] = min(wanted["max_length"], 256)
    return {"method": method, "shape": shape, "hyperparameters": wanted}


def measure(options: argparse.Namespace) -> None:
    known = [row for row in json.loads(ROWS.read_text()) if "error" not in row] if ROWS.exists() else []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gyre-planner-") as folder:
        for setting in draw(options.count):
            if any({name: row[name] for name in setting} == setting for row in known):
                continue
            if time.monotonic() - begin > options.seconds:
                break
            found = _in_a_process(setting, Path(folder))
            if "error" not in found:
                known.append({**setting, **found})
            ROWS.write_text("[\n" + ",\n".join(json.dumps(row) for row in known) + "\n]\n")
            print(setting["method"], found, flush=True)


def _in_a_process(setting: Setting, folder: Path) -> Setting:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}", "HF_HUB_OFFLINE": "1"}
    environment |= {"TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    for step in ("prepare", "train"):
        done = subprocess.run(
            [sys.executable, __file__, step, json.dumps(setting), str(folder)],
            env=environment | {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        if done.returncode:
            return {"error": done.stderr.strip().splitlines()[-1]}
    found: Setting = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def prepare(setting: Setting, folder: Path) -> None:
    """Writes base, scorer and rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from gyre_trainers import bundled, testing
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    base, scorer = folder / "base", folder / "scorer"
    subprocess.run(["rm", "-rf", str(base), str(scorer), str(folder / "objects")], check=True)
    texts = [" ".join(random.Random(at).choices(WORDS, k=60)) for at in range(50)]
    if setting["shape"]:
        torch.manual_seed(7)
        config = LlamaConfig(**setting["shape"], max_position_embeddings=2048, eos_token_id=2, pad_token_id=0)
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(base)
        testing.byte_level_tokenizer(texts, 1024).save_pretrained(base)
    else:
        bundled.smollm2(base)
    if setting["method"] in ("GRPO", "PPO"):
        made = LlamaForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.bfloat16)
        made.save_pretrained(scorer)
        AutoTokenizer.from_pretrained(base).save_pretrained(scorer)
    wanted = setting["hyperparameters"]
    rows = [_row(setting["method"], wanted["max_length"], at) for at in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


def _row(method: str, length: int, at: int) -> Setting:
    rng = random.Random(at)

    def say(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    long = 2 * length  # a word is at least a token here
    if method in ("GRPO", "PPO"):  # what they learn from is the prompt; GRPO cuts none
        turns = [{"role": "user", "content": say(length - 12)}, {"role": "assistant", "content": say(4)}]
        return {"id": str(at), "messages": turns}
    asked = [{"role": "user", "content": say(3)}]
    if method == "SFT":
        return {"id": str(at), "messages": [*asked, {"role": "assistant", "content": say(long)}]}
    # TRL drops pairs for a reward model that are too long
    words = long if method != "REWARD" else max(4, length - 48)
    sides = {side: [{"role": "assistant", "content": say(words)}] for side in ("chosen", "rejected")}
    return {"id": str(at), "prompt": asked, **sides}


def train(setting: Setting, folder: Path) -> None:
    """Two steps, a checkpoint after the first, and the result, as `gyre_trainers.run` does it; prints what was held."""
    import asyncio
    import importlib

    import datasets
    import peft
    import torch
    import transformers
    import trl
    from gyre_kit.storage import ObjectStore
    from gyre_trainers import fit
    from gyre_trainers.methods import METHODS
    from gyre_trainers.report import Reporter
    from gyre_trainers.spec import Spec

    credential = folder / "credential"
    credential.write_text("none")
    wanted = setting["hyperparameters"] | {"max_steps": 2, "checkpoint_every": 1, "assistant_only_loss": True}
    spec = Spec.model_validate(
        {
            "run": "projects/bench/runs/1",
            "attempt": 1,
            "method": setting["method"],
            "base": {"uri": "gyre://base"},
            "reward_model": {"uri": "gyre://scorer"},
            "data": [{"uri": "gyre://rows"}],
            "output_prefix": "runs/1/1",
            "object_store": f"file://{folder / 'objects'}",
            "report_address": "127.0.0.1:9",  # never beaten to: the reporter is not started
            "credential_file": str(credential),
            "hyperparameters": wanted,
        }
    )
    method: Any = importlib.import_module(METHODS[spec.method].module)
    torch.ones(8, 8) @ torch.ones(8, 8)
    assert datasets and peft and transformers and trl
    bare = _held()
    store = ObjectStore.from_url(spec.object_store)
    (folder / "scratch").mkdir(exist_ok=True)
    job = fit.Job(
        spec=spec,
        store=store,
        reporter=Reporter(spec),
        output=store.local_path(spec.output) or folder,
        scratch=folder / "scratch",
        base=folder / "base",
        reward_model=folder / "scorer" if (folder / "scorer").is_dir() else None,
        data=[folder / "rows.parquet"],
    )
    times = _timed(fit)
    fitted = method.train(job)
    trained = _held()
    asyncio.run(fit.publish(job, fitted))
    found = {"bare_bytes": bare, "trained_bytes": trained, "peak_bytes": _held()}
    print(json.dumps(found | {"step_seconds": times, "parameters": _parameters(folder / "base")}))


def _timed(fit: Any) -> list[float]:
    """Seconds of each step, filled in as the callback that all methods share is called."""
    found: list[float] = []
    begun = [time.monotonic()]
    ours = fit.Progress

    class Timed(ours):  # type: ignore[misc, valid-type]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            begun[0] = time.monotonic()

        def on_step_end(self, *given: Any, **named: Any) -> Any:
            found.append(round(time.monotonic() - begun[0], 3))
            return super().on_step_end(*given, **named)

    fit.Progress = Timed
    return found


def _held() -> int:
    """Peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _parameters(base: Path) -> int:
    from safetensors import safe_open

    with safe_open(base / "model.safetensors", "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)


def main() -> None:
    if sys.argv[1:2] in (["prepare"], ["train"]):
        {"prepare": prepare, "train": train}[sys.argv[1]](json.loads(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("measure")
    command.add_argument("--count", type=int, default=42)
    command.add_argument("--seconds", type=float, default=1500)
    command.set_defaults(do=measure)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
