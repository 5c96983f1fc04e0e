"""The part of a run that all methods share: arguments, resuming, the loop, and the result.

Speed: one run each of two steps, on two AVX2 cores (AMD Zen 1); SmolLM2-135M, LoRA rank 8, f32, four rows of about
62 tokens of which 27 have a label. Magnitudes, not promises.

    SFT, whole loop, seconds a step, 2 threads, idle machine
        TRL 1.12, activation checkpointing (its default)     5.6
        TRL without it                                       3.6
        ours: tree.py, without it                            2.4     2.3 and 1.5 times as fast, 100 tokens/s
    DPO, loss and gradients, CPU seconds, 1 thread, busy machine
        TRL without it                                      16.5
        ours, first epoch (with the reference)               8.7     1.9
        ours, later epochs (reference remembered)            6.2     2.7

The losses of the three SFT loops were the same to three digits. Logging each step costs nothing that shows, nor do
threads that sleep rather than spin while idle; the second thread makes a step 1.6 times as fast. A product in bf16 took
6 (forward) to 18 times (backward) as long as in f32, so a CPU trains in f32; with AMX or AVX512-BF16 that is untested,
and so is TRL's own default of bf16 autocast.
"""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gyre_kit.storage import ObjectStore, uri_of

from gyre_trainers import checkpoints, lora, manifest
from gyre_trainers.callbacks import Progress
from gyre_trainers.data import PREFERENCE, Row, first_rows, read_rows
from gyre_trainers.exits import BadInput, Finished, Return
from gyre_trainers.health import Alarm, Kind
from gyre_trainers.methods import METHODS
from gyre_trainers.report import Reporter
from gyre_trainers.samples import ANSWERING, Sampler
from gyre_trainers.settings import Action, Hyperparameters
from gyre_trainers.spec import Spec

log = logging.getLogger("gyre_trainers.fit")

Arguments = TypeVar("Arguments")
LOOKED_AT = 20  # rows, for prompts that are short enough


@dataclass(frozen=True)
class Job:
    """What a method gets: everything is local, checked and ready to load."""

    spec: Spec
    store: ObjectStore
    reporter: Reporter
    output: Path  # where the attempt's prefix lies on this machine, or a folder that is put there
    scratch: Path
    base: Path
    reward_model: Path | None
    data: list[Path]
    begin_from: Path | None = None  # a checkpoint of another run, whose weights a fresh start takes
    back: Return | None = None  # a health rule sent it there

    @property
    def hyperparameters(self) -> Hyperparameters:
        return self.spec.hyperparameters

    def rows(self, *columns: str) -> list[Row]:
        """The rows of all files, in order. Raises: BadInput."""
        files = zip(self.spec.data, self.data, strict=True)
        return [
            row
            for at, (file, path) in enumerate(files)
            for row in read_rows(path, f"data.{at}", digest=file.digest, rows=file.rows, columns=columns)
        ]


@dataclass(frozen=True)
class Fitted:
    """A finished loop. `model` still carries its adapters."""

    model: Any
    tokenizer: Any
    steps: int
    metrics: dict[str, float]


def arguments(job: Job, kind: Callable[..., Arguments], *, learning_rate: float, **own: Any) -> Arguments:
    """TRL's arguments for this job; `learning_rate` is the method's default, `own` what it sets beyond the common."""
    import torch

    wanted = job.hyperparameters
    on_gpu = torch.cuda.is_available()
    common: dict[str, Any] = {
        "output_dir": str(job.output),
        "num_train_epochs": wanted.epochs,
        "max_steps": wanted.max_steps or -1,
        "learning_rate": wanted.learning_rate or learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": wanted.warmup_ratio,  # below 1 Transformers reads it as a share
        "per_device_train_batch_size": wanted.batch_size,
        "gradient_accumulation_steps": wanted.gradient_accumulation_steps,
        "weight_decay": wanted.weight_decay,
        "activation_checkpointing": on_gpu
        if wanted.activation_checkpointing is None
        else wanted.activation_checkpointing,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "use_cache": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": on_gpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # Progress decides
        "report_to": "none",
        "disable_tqdm": True,
        "seed": job.spec.seed,
        "data_seed": job.spec.seed,
    }
    return kind(**{**common, **own})


def fit(
    job: Job,
    trainer: Any,
    *,
    before_publishing: Callable[[Path], None] | None = None,
    on_resume: Callable[[Path], None] | None = None,
) -> Fitted:
    """Runs the loop from the newest good checkpoint, or from the start. What a method puts into a checkpoint's folder
    before it is published, it may read again when it goes on from there. Raises: Stopped; Unwell; RolledBack.
    """
    found = resume(job)
    step = found.step if found else 0
    sampler = sampler_of(job, trainer.processing_class)
    progress = Progress(job.spec, job.store, job.reporter, step, before_publishing, job.back, sampler)
    prepare(trainer, progress)
    if found is not None and on_resume is not None:
        on_resume(found.folder)
    if found is None and job.begin_from is not None:
        trainer._load_from_checkpoint(str(job.begin_from))
    loop(trainer, resume_from_checkpoint=str(found.folder) if found else None)
    return Fitted(trainer.model, trainer.processing_class, trainer.state.global_step, progress.last_metrics)


def sampler_of(job: Job, tokenizer: Any) -> Sampler | None:
    """None for a method whose model answers nobody, or answers at every step anyway."""
    if job.spec.method not in ANSWERING:
        return None
    columns = PREFERENCE if METHODS[job.spec.method].rows == "PREFERENCE" else ("messages",)
    return Sampler(first_rows(job.data[0], LOOKED_AT, columns), tokenizer)


def resume(job: Job) -> checkpoints.Resume | None:
    """The checkpoint to go on from, and an alarm if newer ones are damaged."""
    damaged: list[str] = []
    up_to = job.back.step if job.back else math.inf
    found = asyncio.run(checkpoints.newest(job.store, job.spec, job.scratch, up_to=up_to, on_damage=damaged.append))
    if damaged:
        step = found.step if found else 0
        detail = ", ".join(uri_of(prefix) for prefix in damaged)
        job.reporter.alarm(Alarm(Kind.CHECKPOINT_DAMAGED, Action.WARN, step, {"back_to": step}, detail))
    return found


def loop(trainer: Any, **how: Any) -> None:
    """To the last step, or to the one at which the scheduler has enough."""
    try:
        trainer.train(**how)
    except Finished:
        log.info("ended early as asked, after %d steps", trainer.state.global_step)


def prepare(trainer: Any, progress: Progress) -> None:
    """Puts our callback in place of those that print, and drops the model card that TRL writes at each checkpoint.

    A checkpoint that cannot be written is no reason to lose what the run has learnt.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(progress)
    trainer.create_model_card = lambda *_, **__: None
    progress.guard(trainer)


async def publish(job: Job, fitted: Fitted) -> str:
    """Writes model/, adapter/ and last manifest.json below the attempt's prefix; returns the manifest's digest.

    `model/` is the merged model in bf16 safetensors with tokenizer and config: a base like any other.
    """
    import torch

    with tempfile.TemporaryDirectory(dir=job.scratch) as folder:
        result = Path(folder)
        if hasattr(fitted.model, "peft_config"):
            lora.save_adapter(fitted.model, result / "adapter", job.spec.base.uri)
        model = lora.merged(fitted.model).to(torch.bfloat16)
        model.config.use_cache = True
        model.save_pretrained(result / "model")
        fitted.tokenizer.save_pretrained(result / "model")
        facts = {
            "kind": "result",
            "attempt": job.spec.attempt,
            "step": fitted.steps,
            "metrics": fitted.metrics,
            **checkpoints.identity(job.spec),
        }
        digest = manifest.write(result, facts)
        await job.store.put_folder(job.spec.output, result, last=manifest.NAME)
    return digest


def manifest_uri(spec: Spec) -> str:
    return uri_of(f"{spec.output}/{manifest.NAME}")


def needed(reward_model: Path | None) -> Path:
    """The spec is refused before this where a method needs a reward model and has none."""
    if reward_model is None:
        raise ValueError("no reward model")
    return reward_model


def refuse_empty(dataset: Any) -> None:
    """Raises: BadInput if truncation left no row."""
    if not len(dataset):
        raise BadInput("hyperparameters.max_length", "no row is short enough to learn from", "raise it")
