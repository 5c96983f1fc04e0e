"""What happens around a step: reporting, checkpoints when they are due or asked for, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gyre_kit.storage import ObjectStore
from transformers import TrainerCallback, TrainerControl, TrainerState

from gyre_trainers import checkpoints
from gyre_trainers.exits import Stopped
from gyre_trainers.report import Reporter
from gyre_trainers.spec import Spec


class Progress(TrainerCallback):  # type: ignore[misc]
    """`before_publishing` may add files to a checkpoint's folder. Raises Stopped once the last checkpoint is complete."""

    def __init__(
        self,
        spec: Spec,
        store: ObjectStore,
        reporter: Reporter,
        resumed_from_step: int,
        before_publishing: Callable[[Path], None] | None = None,
    ) -> None:
        self.last_metrics: dict[str, float] = {}
        self._spec, self._store, self._reporter = spec, store, reporter
        self._resumed_from_step, self._saved_step = resumed_from_step, resumed_from_step
        self._before_publishing = before_publishing

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._reporter.progress(state.global_step, state.max_steps, self._resumed_from_step)
        self._stop_if_asked()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._reporter.progress(state.global_step, state.max_steps)
        due = state.global_step % self._spec.hyperparameters.checkpoint_every == 0
        asked = self._reporter.checkpoint_requested.is_set() or self._reporter.stop_requested.is_set()
        last = state.global_step >= state.max_steps  # the result itself follows at once
        if (due or asked) and not last and state.global_step > self._saved_step:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._before_publishing is not None:
            self._before_publishing(folder)
        saved = asyncio.run(checkpoints.publish(self._store, self._spec, folder, state.global_step))
        self._saved_step = state.global_step
        self._reporter.saved(saved)
        self._reporter.checkpoint_requested.clear()
        control.should_save = False
        self._stop_if_asked()
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "train_runtime" not in logs:
            self._reporter.metrics(state.global_step, logs)
            self.last_metrics.update({name: value for name, value in logs.items() if isinstance(value, int | float)})

    def _stop_if_asked(self) -> None:
        if self._reporter.stop_requested.is_set():
            raise Stopped


class Steps:
    """The steps that are left of a loop of our own, with the same `progress` around each as the Trainer gives."""

    def __init__(self, progress: Progress, output: Path, done: int, total: int) -> None:
        self._progress, self._args = progress, SimpleNamespace(output_dir=str(output))
        self._state, self._control = TrainerState(global_step=done, max_steps=total), TrainerControl()

    def __iter__(self) -> Iterator[int]:
        """Numbers of the steps, from 0. Raises: Stopped."""
        self._progress.on_train_begin(self._args, self._state, self._control)
        while self._state.global_step < self._state.max_steps:
            yield self._state.global_step

    def report(self, metrics: dict[str, float]) -> None:
        """Ends a step. Raises: Stopped."""
        self._state.global_step += 1
        self._progress.on_log(self._args, self._state, self._control, metrics)
        self._progress.on_step_end(self._args, self._state, self._control)
        if self._control.should_save:
            self._progress.on_save(self._args, self._state, self._control)
