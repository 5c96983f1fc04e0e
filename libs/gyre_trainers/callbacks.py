"""What happens around a step: reporting, health, checkpoints when they are due or asked for, ending early."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from gyre_kit.storage import ObjectStore
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState

from gyre_trainers import checkpoints
from gyre_trainers.exits import BadInput, Finished, Return, RolledBack, Stopped, Unwell
from gyre_trainers.health import Alarm, Kind, Watch
from gyre_trainers.report import Reporter
from gyre_trainers.samples import Sampler
from gyre_trainers.settings import Action
from gyre_trainers.spec import Spec
from gyre_trainers.speed import Speed

log = logging.getLogger("gyre_trainers.callbacks")

MOST_RETURNS: Final = 3  # what is still unwell at an eighth of its learning rate wants a person
UNWRITTEN: Final = (OSError, RuntimeError, SafetensorError)  # RuntimeError is PyTorch's word for a full disk


class Progress(TrainerCallback):  # type: ignore[misc]
    """`before_publishing` may add files to a checkpoint's folder. Raises Stopped once the last checkpoint is complete."""

    def __init__(
        self,
        spec: Spec,
        store: ObjectStore,
        reporter: Reporter,
        resumed_from_step: int,
        before_publishing: Callable[[Path], None] | None = None,
        back: Return | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.last_metrics: dict[str, float] = {}
        self._spec, self._store, self._reporter = spec, store, reporter
        self._resumed_from_step, self._saved_step = resumed_from_step, resumed_from_step
        self._before_publishing, self._back, self._sampler = before_publishing, back, sampler
        self._watch, self._speed = Watch(spec.method, spec.health), Speed()
        self._scores: dict[int, float] = {}  # of the checkpoints of this attempt

    def on_train_begin(
        self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, model: Any = None, **_: Any
    ) -> None:
        if state.global_step == 0:  # before anybody times the steps
            self._sample(model, 0, at_an_end=True)
        self._reporter.progress(state.global_step, state.max_steps, self._resumed_from_step)
        if self._back is not None and lr_scheduler is not None:
            set_learning_rate(lr_scheduler, self._back.learning_rate)
        self._stop_if_asked()
        if self._reporter.finish_requested.is_set():
            if state.global_step == 0:
                raise BadInput("run", "there is no whole checkpoint to make a result of", "start it again")
            raise Finished

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._sample(model, state.global_step, at_an_end=True)

    def _sample(self, model: Any, step: int, *, at_an_end: bool = False) -> None:
        if self._sampler is not None and model is not None:
            self._reporter.sampled(self._sampler.take(model, step, at_an_end=at_an_end))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._reporter.progress(state.global_step, state.max_steps)
        due = state.global_step % self._spec.hyperparameters.checkpoint_every == 0
        wishes = self._reporter
        asked = any(it.is_set() for it in (wishes.checkpoint_requested, wishes.stop_requested, wishes.finish_requested))
        last = state.global_step >= state.max_steps  # the result itself follows at once
        if (due or asked) and not last and state.global_step > self._saved_step:
            control.should_save = True
        return control

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, Any] | None = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        if not logs or "train_runtime" in logs:
            return
        logs = {**logs, **self._speed.measured(logs)}
        self._reporter.metrics(state.global_step, logs)
        self.last_metrics.update({name: value for name, value in logs.items() if isinstance(value, int | float)})
        for alarm in self._watch.see(state.global_step, logs):
            self._act(alarm, lr_scheduler, Path(args.output_dir))

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if folder.is_dir():
            with self._surviving(folder, state.global_step):
                self._publish(folder, state.global_step)
            self._sample(model, state.global_step)
        self._reporter.checkpoint_requested.clear()
        control.should_save = False
        self._stop_if_asked()
        if self._reporter.finish_requested.is_set():
            raise Finished
        return control

    def guard(self, trainer: Any) -> None:
        """Has a checkpoint that cannot be written told and survived: the next one is due soon."""
        write = trainer._save_checkpoint

        def guarded(*args: Any, **kwargs: Any) -> None:
            step = trainer.state.global_step
            with self._surviving(Path(trainer.args.output_dir) / f"checkpoint-{step}", step):
                write(*args, **kwargs)

        trainer._save_checkpoint = guarded

    @contextmanager
    def _surviving(self, folder: Path, step: int) -> Iterator[None]:
        try:
            yield
        except UNWRITTEN as error:
            log.warning("the checkpoint at step %d could not be written: %s", step, error)
            shutil.rmtree(folder, ignore_errors=True)
            words = str(error).strip() or type(error).__name__
            alarm = Alarm(Kind.CHECKPOINT_NOT_WRITTEN, Action.WARN, step, detail=words.splitlines()[0])
            self._reporter.alarm(alarm)

    def _publish(self, folder: Path, step: int) -> None:
        if self._before_publishing is not None:
            self._before_publishing(folder)
        score = self._watch.score()
        scores = self._scores if score is None else {**self._scores, step: score}
        best = min(scores, key=lambda at: scores[at], default=0)
        saved = asyncio.run(checkpoints.publish(self._store, self._spec, folder, step, score, best))
        self._scores, self._saved_step = scores, step
        self._reporter.saved(saved)

    def _act(self, alarm: Alarm, lr_scheduler: Any, output: Path) -> None:
        """Tells of it and does what its rule says. Raises: Unwell; RolledBack."""
        target = asyncio.run(checkpoints.best(self._store, self._spec)) if alarm.action is Action.ROLL_BACK else None
        times = self._back.times if self._back else 0
        if alarm.action is Action.ROLL_BACK and (target is None or times >= MOST_RETURNS):
            alarm = replace(alarm, action=Action.STOP)
        elif target is not None:
            alarm = replace(alarm, values={**alarm.values, "back_to": target.step})
        log.warning("%s at step %d: %s %s %s", alarm.kind, alarm.step, alarm.action, dict(alarm.values), alarm.detail)
        self._reporter.alarm(alarm)
        if alarm.action is Action.STOP:
            raise Unwell(f"{alarm.kind} at step {alarm.step}")
        if alarm.action is Action.LOWER_LEARNING_RATE:
            set_learning_rate(lr_scheduler, peak(lr_scheduler) / 2)
        if alarm.action is Action.ROLL_BACK and target is not None:
            later = output / f"checkpoint-{alarm.step}"
            asyncio.run(checkpoints.drop_later(self._store, self._spec, target.step, beside=later))
            raise RolledBack(Return(target.step, peak(lr_scheduler) / 2, times + 1))

    def _stop_if_asked(self) -> None:
        if self._reporter.stop_requested.is_set():
            raise Stopped


def peak(lr_scheduler: Any) -> float:
    """The learning rate that the schedule is a share of."""
    return float(lr_scheduler.base_lrs[0])


def set_learning_rate(lr_scheduler: Any, rate: float) -> None:
    """Has the schedule go on at its place, as a share of `rate`. It is a LambdaLR, and checkpoints keep the new rate."""
    lr_scheduler.base_lrs = [rate for _ in lr_scheduler.base_lrs]
    shares = [share(lr_scheduler.last_epoch) for share in lr_scheduler.lr_lambdas]
    for group, share in zip(lr_scheduler.optimizer.param_groups, shares, strict=True):
        group["initial_lr"], group["lr"] = rate, rate * share
    lr_scheduler._last_lr = [rate * share for share in shares]


class Steps:
    """The steps that are left of a loop of our own, with the same `progress` around each as the Trainer gives."""

    def __init__(self, progress: Progress, schedule: Any, output: Path, done: int, total: int) -> None:
        self._progress, self._schedule = progress, schedule
        self._args = SimpleNamespace(output_dir=str(output))
        self._state, self._control = TrainerState(global_step=done, max_steps=total), TrainerControl()
        self._is_enough = False

    @property
    def done(self) -> int:
        return int(self._state.global_step)

    def __iter__(self) -> Iterator[int]:
        """Numbers of the steps, from 0, to the last or to the one at which the scheduler has enough.

        Raises: Stopped.
        """
        try:
            self._progress.on_train_begin(self._args, self._state, self._control, lr_scheduler=self._schedule)
        except Finished:
            return
        while self.done < self._state.max_steps and not self._is_enough:
            yield self.done

    def report(self, metrics: dict[str, float]) -> None:
        """Ends a step. Raises: Stopped; Unwell; RolledBack."""
        self._state.global_step += 1
        self._progress.on_log(self._args, self._state, self._control, metrics, lr_scheduler=self._schedule)
        self._progress.on_step_end(self._args, self._state, self._control)
        if self._control.should_save:
            Path(self._args.output_dir, f"checkpoint-{self.done}").mkdir(parents=True, exist_ok=True)
            try:
                self._progress.on_save(self._args, self._state, self._control)
            except Finished:
                self._is_enough = True
