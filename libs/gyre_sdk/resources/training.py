"""Runs, tries, recipes and pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from gyre.training_scheduler.v1.method_pb2 import TrainingMethod
from gyre.training_scheduler.v1.pipeline_pb2 import Pipeline, PipelineSpec
from gyre.training_scheduler.v1.pipeline_service_pb2 import CreatePipelineRequest
from gyre.training_scheduler.v1.recipe_pb2 import Recipe
from gyre.training_scheduler.v1.run_pb2 import (
    Alarm,
    Checkpoint,
    Estimate,
    Health,
    Hyperparameters,
    MetricPoint,
    Run,
    RunSpec,
    Sample,
)
from gyre.training_scheduler.v1.run_service_pb2 import CreateRunRequest, EstimateRunRequest, ForkRunRequest, RunUpdate
from gyre.training_scheduler.v1.try_pb2 import Try
from gyre.training_scheduler.v1.try_service_pb2 import CreateTryRequest

from gyre_sdk import messages, names
from gyre_sdk.collection import PATIENCE_SECONDS, Collection, request_id
from gyre_sdk.errors import GyreError

INPUTS_CHANGED = "INPUTS_CHANGED"


class Runs(Collection[Run]):
    kind, plural, ends = Run, "runs", ("SUCCEEDED",)

    def create(
        self,
        spec: RunSpec | None = None,
        *,
        display_name: str = "",
        method: str = "SFT",
        base: str = "",
        datasets: Iterable[str] = (),
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Run:
        """From a whole `spec`, or from its parts; `fields` are further ones of RunSpec (seed, register_as, queue)."""
        spec = spec or run_spec(method, base, datasets, hyperparameters, **fields)
        request = CreateRunRequest(display_name=display_name, spec=spec, request_id=request_id())
        return self._post(Run, f"{self.parent}/runs", request)

    def estimate(self, spec: RunSpec) -> Estimate:
        """Memory, time and cost, without creating anything."""
        return self._post(Estimate, f"{self.parent}/runs", EstimateRunRequest(spec=spec), "estimate")

    def cancel(self, name: str) -> Run:
        return self._post(Run, self.name(name), verb="cancel")

    def pause(self, name: str) -> Run:
        return self._post(Run, self.name(name), verb="pause")

    def resume(self, name: str) -> Run:
        return self._post(Run, self.name(name), verb="resume")

    def stop(self, name: str) -> Run:
        """Ends it early and keeps what it learnt."""
        return self._post(Run, self.name(name), verb="stop")

    def fork(
        self,
        name: str,
        *,
        step: int = 0,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        register_as: str = "",
        display_name: str = "",
    ) -> Run:
        """A new run with the weights of the checkpoint at `step` (0: the latest). Raises: ValueError as `create`."""
        request = ForkRunRequest(
            step=step,
            hyperparameters=_hyperparameters(hyperparameters),
            register_as=register_as,
            display_name=display_name,
            request_id=request_id(),
        )
        return self._post(Run, self.name(name), request, verb="fork")

    def again(self, name: str) -> Run:
        """A new run of the same spec and seed; of a fork, from the same checkpoint. Raises: GyreError INPUTS_CHANGED,
        the new run cancelled, where a name no longer stands for what it stood for.
        """
        first = self.get(name)
        if first.forked_from:
            origin, _, step = first.forked_from.rpartition("/checkpoints/")
            spec = first.spec
            new = self.fork(
                origin,
                step=int(step),
                hyperparameters=spec.hyperparameters,
                register_as=spec.register_as,
                display_name=first.display_name,
            )
        else:
            new = self.create(first.spec, display_name=first.display_name)
        if changed := changed_inputs(first, new):
            self.cancel(new.name)
            listed = ", ".join(names.short(one) for one in changed)
            message = f"{listed} is no longer what run #{first.number} was made of."
            raise GyreError(0, INPUTS_CHANGED, message, "Start a new run: `gyre runs start`.")
        return new

    def wait_for(self, name: str, ends: tuple[str, ...], on_update: Callable[[Run], None] | None = None) -> Run:
        """Polls until it is in one of `ends`. Raises: GyreError if it failed."""
        return self._wait(lambda: self.get(name), ends, None, on_update, check=True)

    def watch(self, name: str) -> Iterator[RunUpdate]:
        """The run now and at every change, with new metric points, until it ends. A lost connection is taken up again."""
        yield from resumed(lambda: self._updates(name), lambda update: self._has_ended(update.run))

    def metrics(self, name: str, after_step: int = 0) -> Iterator[MetricPoint]:
        return self._all(MetricPoint, f"{self.name(name)}/metrics", "points", after_step=after_step)

    def checkpoints(self, name: str) -> Iterator[Checkpoint]:
        return self._all(Checkpoint, f"{self.name(name)}/checkpoints", "checkpoints")

    def samples(self, name: str) -> Iterator[Sample]:
        """What the model answered while it learnt, by prompt and step."""
        return self._all(Sample, f"{self.name(name)}/samples", "samples")

    def alarms(self, name: str) -> Iterator[Alarm]:
        return self._all(Alarm, f"{self.name(name)}/alarms", "alarms")

    def logs(self, name: str, stream: str = "stderr", tail_lines: int = 0, follow: bool = False) -> Iterator[str]:
        query = {"stream": stream, "tail_lines": tail_lines, "follow": follow}
        return self._transport.text(names.path(self.name(name)) + "/logs", query)

    def recipes(self) -> Iterator[Recipe]:
        return self._all(Recipe, f"{self.parent}/recipes", "recipes")

    def methods(self) -> Iterator[TrainingMethod]:
        """What can be trained how, each with the JSON Schema of its settings."""
        return self._all(TrainingMethod, f"{self.parent}/methods", "methods")

    def _updates(self, name: str) -> Iterator[RunUpdate]:
        for event in self._transport.events(names.path(self.name(name)) + "/events"):
            yield messages.parse(RunUpdate, event.data)

    def _has_ended(self, run: Run) -> bool:
        return messages.enum_name(run, "state") in (*self.ends, *self.failures)


class Tries(Collection[Try]):
    """Ten steps of a run, made before it is created. There is no list of them: keep the name."""

    kind, plural, ends = Try, "tries", ("SUCCEEDED",)

    def create(self, spec: RunSpec, display_name: str = "") -> Try:
        """`spec` as `run_spec` makes it. Waits in its queue; `wait` gives the report."""
        request = CreateTryRequest(display_name=display_name, spec=spec, request_id=request_id())
        return self._post(Try, f"{self.parent}/tries", request)

    def cancel(self, name: str) -> Try:
        return self._post(Try, self.name(name), verb="cancel")


class Pipelines(Collection[Pipeline]):
    """Laps of the loop. REFUSED is no failure: everything ran, and the gate said no."""

    kind, plural, ends = Pipeline, "pipelines", ("SUCCEEDED", "REFUSED")

    def create(self, spec: PipelineSpec | Mapping[str, Any], display_name: str = "") -> Pipeline:
        """`spec` as a message, or as its JSON. Raises: ValueError for JSON that is no PipelineSpec."""
        request = CreatePipelineRequest(
            display_name=display_name, spec=_message(PipelineSpec, spec), request_id=request_id()
        )
        return self._post(Pipeline, f"{self.parent}/pipelines", request)

    def cancel(self, name: str) -> Pipeline:
        return self._post(Pipeline, self.name(name), verb="cancel")

    def watch(self, name: str) -> Iterator[Pipeline]:
        """The lap now and at every change, until it ends."""
        yield from resumed(lambda: self._updates(name), self._has_ended)

    def _updates(self, name: str) -> Iterator[Pipeline]:
        for event in self._transport.events(names.path(self.name(name)) + "/events"):
            yield messages.parse(Pipeline, event.data)

    def _has_ended(self, pipeline: Pipeline) -> bool:
        return messages.enum_name(pipeline, "state") in (*self.ends, *self.failures)


def run_spec(
    method: str,
    base: str,
    datasets: Iterable[str],
    hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
    health: Health | Mapping[str, Any] | None = None,
    **fields: Any,
) -> RunSpec:
    """`hyperparameters` by name, those that the method alone knows among them; the server refuses what it does not know.
    `health` is what follows an alarm, such as `{"divergence": "ROLL_BACK", "divergence_ratio": 3}`.

    Raises: ValueError for a method that does not exist, or a value of another type.
    """
    return RunSpec(
        method=messages.enum_value(RunSpec, "method", method),
        base=base,
        datasets=list(datasets),
        hyperparameters=_hyperparameters(hyperparameters),
        health=_health(health),
        **fields,
    )


def changed_inputs(first: Run, second: Run) -> list[str]:
    """Names of what `second` reads that are, by digest, not what `first` read."""
    known = {(it.role, it.name): it.digest for it in first.inputs}
    return [it.name for it in second.inputs if known.get((it.role, it.name)) != it.digest]


def settings_of(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """All that is set, by name, those of the method alone too."""
    values = messages.to_body(hyperparameters)
    return values | values.pop("own", {})


def _hyperparameters(given: Hyperparameters | Mapping[str, Any] | None) -> Hyperparameters:
    if isinstance(given, Hyperparameters):
        return given
    common = Hyperparameters.DESCRIPTOR.fields_by_name
    body = {name: value for name, value in (given or {}).items() if name in common}
    if own := {name: value for name, value in (given or {}).items() if name not in common}:
        body["own"] = {**body.get("own", {}), **own}
    return _message(Hyperparameters, body)


def _health(given: Health | Mapping[str, Any] | None) -> Health:
    if isinstance(given, Health):
        return given
    named = {
        name: f"ACTION_{value.upper()}" if isinstance(value, str) else value for name, value in (given or {}).items()
    }
    return _message(Health, named)


def resumed(watch: Any, has_ended: Any, patience: float = PATIENCE_SECONDS) -> Iterator[Any]:
    """Goes on watching after a lost connection, for at most `patience` seconds without a word. Raises: GyreError."""
    deadline = time.monotonic() + patience
    while True:
        try:
            for update in watch():
                yield update
                deadline = time.monotonic() + patience
                if has_ended(update):
                    return
        except GyreError as error:
            if not error.unavailable or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _message(kind: Any, given: Any) -> Any:
    if isinstance(given, kind):
        return given
    try:
        return ParseDict(dict(given), kind())
    except ParseError as error:
        raise ValueError(f"Not a {kind.DESCRIPTOR.name}: {error}") from error
