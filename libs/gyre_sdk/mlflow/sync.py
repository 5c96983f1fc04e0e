"""One pass over both registries. What is alike already is left alone, so that passes can be repeated for ever."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gyre_sdk import messages, names
from gyre_sdk.errors import GyreError
from gyre_sdk.mlflow import choosing
from gyre_sdk.mlflow.client import Mlflow, Model, Run, Version
from gyre_sdk.resources.training import settings_of

if TYPE_CHECKING:
    from gyre.model_registry.v1.version_pb2 import Version as GyreVersion

    from gyre_sdk.client import Gyre

VERSION, DIGEST, RUN, MODEL, AGREED = "gyre.version", "gyre.digest", "gyre.run", "gyre.model", "gyre.alias."
IMPORT_SECONDS = 3600.0


@dataclass(frozen=True)
class Entry:
    """One thing that was done or refused; `outcome` is PULLED, PUSHED, REFUSED or CONFLICT."""

    outcome: str
    what: str
    to: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Directions:
    pull: bool = True
    push: bool = True


@dataclass
class Pass:
    """`pairs`: version number in MLflow by the Gyre version's name, for the model at hand."""

    gyre: Gyre
    mlflow: Mlflow
    directions: Directions
    entries: list[Entry] = field(default_factory=list)

    def refused(self, what: str, error: GyreError, outcome: str = "REFUSED") -> None:
        message = f"{error.message} {error.remedy}".strip()
        self.entries.append(Entry(outcome, what, reason=error.reason, message=message))


def sync(gyre: Gyre, mlflow: Mlflow, directions: Directions, only: str = "") -> list[Entry]:
    """What was done. `only` names one model, as Gyre or as MLflow calls it.

    Raises: GyreError where one of the two does not answer; what one version is refused for is in the report.
    """
    now = Pass(gyre, mlflow, directions)
    theirs = {_ours_of(model): model for model in mlflow.models()}
    ours = {names.last(model.name) for model in gyre.models.list()}
    for slug in sorted(theirs.keys() | ours):
        there = theirs.get(slug)
        if only and only not in (slug, there.name if there else slug):
            continue
        if (there is None and not directions.push) or (slug not in ours and not directions.pull):
            continue
        try:
            _sync_model(now, slug, there, is_here=slug in ours)
        except GyreError as error:
            if error.unavailable or error.reason == "MLFLOW_UNREACHABLE" or error.status in (401, 403):
                raise
            now.refused(slug, error)
    return now.entries


def _sync_model(now: Pass, slug: str, there: Model | None, *, is_here: bool) -> None:
    """1 what both have, 2 in, 3 out, 4 aliases."""
    known = list(now.gyre.models.versions(slug)) if is_here else []
    ours = [each for each in known if _state(each) == "READY"]
    theirs = now.mlflow.versions(there.name) if there else []
    pairs = _pairs(now, ours, theirs)
    if now.directions.pull and there is not None:
        _pull(now, slug, there, [each for each in theirs if not _is_under_way(now, each, known)], pairs)
    name = there.name if there else slug
    if now.directions.push:
        if there is None and ours:
            now.mlflow.create_model(slug, now.gyre.models.get(slug).description, {MODEL: slug})
        _push(now, name, ours, {version.number: version for version in theirs}, pairs)
    if there is None:
        there = Model(name, "", {}, {})
    _sync_aliases(now, slug, there, pairs)


def _pairs(now: Pass, ours: list[GyreVersion], theirs: list[Version]) -> dict[str, str]:
    """Gyre version → MLflow version number: those that came from there by origin, those that we brought by tags."""
    by_origin = {version.origin: version.name for version in ours if version.origin}
    digests = {version.name: version.digest for version in ours}
    pairs = {}
    for version in theirs:
        tagged = version.tags.get(VERSION, "")
        if tagged in digests and version.tags.get(DIGEST) == digests[tagged]:
            pairs[tagged] = version.number
        elif (name := by_origin.get(_origin(now.mlflow, version))) is not None:
            pairs[name] = version.number
    return pairs


def _is_under_way(now: Pass, version: Version, known: list[GyreVersion]) -> bool:
    """An import that runs is left alone, and one that failed is told and not begun again until it is deleted."""
    origin = _origin(now.mlflow, version)
    found = next((each for each in known if each.origin == origin and _state(each) != "READY"), None)
    if found is not None and _state(found) == "FAILED":
        error = GyreError(
            0, found.failure_reason, found.failure_message, f"Delete {names.short(found.name)} to try again."
        )
        now.refused(f"{version.model}/{version.number}", error)
    return found is not None


def _pull(now: Pass, slug: str, there: Model, theirs: list[Version], pairs: dict[str, str]) -> None:
    for version in theirs:
        if version.number in pairs.values() or version.source.startswith("gyre:"):
            continue  # known; or brought by a Gyre that has it no more, or by another one
        what = f"{there.name}/{version.number}"
        try:
            name = _import(now, slug, there, version)
        except GyreError as error:
            if error.unavailable:
                raise
            now.refused(what, error)
            continue
        pairs[name] = version.number
        now.entries.append(Entry("PULLED", what, names.short(name)))


def _import(now: Pass, slug: str, there: Model, version: Version) -> str:
    """Fetches the files that make the model, sends them on and waits. Raises: GyreError."""
    wanted = choosing.model_files(file.path for file in now.mlflow.files(version))
    with tempfile.TemporaryDirectory(prefix="gyre-mlflow-") as scratch:
        for path, name in wanted.items():
            now.mlflow.fetch(version, path, Path(scratch) / name)
        files = sorted(Path(scratch).iterdir())
        upload = now.gyre.model_uploads.send(files[0] if len(files) == 1 else scratch, f"{there.name} from MLflow")
    now.gyre.models.ensure(slug, display_name=there.name, description=there.description)
    origin = _origin(now.mlflow, version)
    card = _card(there, version, now.mlflow.run(version.run_id) if version.run_id else Run())
    made = now.gyre.models.import_version(
        slug, upload.uri, origin=origin, card=card, display_name=version.description[:120]
    )
    return now.gyre.models.wait_version(made.name, timeout=IMPORT_SECONDS).name


def _push(now: Pass, name: str, ours: list[GyreVersion], theirs: Mapping[str, Version], pairs: dict[str, str]) -> None:
    for version in ours:
        tags = {VERSION: version.name, DIGEST: version.digest}
        if version.parents.run:
            tags[RUN] = version.parents.run
        if (number := pairs.get(version.name)) is not None:
            for key, value in tags.items() if number in theirs else ():
                if theirs[number].tags.get(key) != value:
                    now.mlflow.tag_version(theirs[number], key, value)
            continue
        run_id = _push_run(now, version) if version.parents.run else ""
        pairs[version.name] = now.mlflow.create_version(name, version.uri, run_id, tags)
        now.entries.append(Entry("PUSHED", names.short(version.name), f"{name}/{pairs[version.name]}"))


def _push_run(now: Pass, version: GyreVersion) -> str:
    """The MLflow run with parameters and metrics of the Gyre run; empty where that is gone."""
    try:
        run = now.gyre.runs.get(version.parents.run)
    except GyreError as error:
        if not error.not_found:
            raise
        return ""
    spec = messages.to_body(run.spec)
    params = {key: str(value)[:500] for key, value in spec.items() if key != "hyperparameters"}
    params |= {key: str(value) for key, value in settings_of(run.spec.hyperparameters).items()}
    metrics = dict(run.metrics) | ({"loss": run.loss} if run.HasField("loss") else {})
    title = run.display_name or f"run {run.number}"
    return now.mlflow.ensure_run(f"gyre/{now.gyre.config.project}", (RUN, run.name), title, Run(params, metrics))


def _sync_aliases(now: Pass, slug: str, there: Model, pairs: Mapping[str, str]) -> None:
    by_number = {number: name for name, number in pairs.items()}
    theirs = {alias: by_number[number] for alias, number in there.aliases.items() if number in by_number}
    try:
        held = {names.last(alias.name): alias.version for alias in now.gyre.models.aliases(slug)}
    except GyreError as error:
        if not error.not_found:
            raise
        return  # nothing of it could be pulled
    ours = {alias: version for alias, version in held.items() if version in pairs}
    agreed = {key.removeprefix(AGREED): value for key, value in there.tags.items() if key.startswith(AGREED)}
    moves = choosing.merge(theirs, ours, agreed, pull=now.directions.pull, push=now.directions.push)
    settled = {alias: name for alias, name in theirs.items() if ours.get(alias) == name}
    for alias, name in moves.pull.items():
        if _move(lambda a=alias, n=name: now.gyre.models.move_alias(slug, a, n), now, f"{slug}@{alias}"):  # type: ignore[misc]
            now.entries.append(Entry("PULLED", f"{there.name}@{alias}", names.short(name)))
            settled[alias] = name
    for alias, name in moves.push.items():
        if _move(lambda a=alias, n=name: now.mlflow.set_alias(there.name, a, pairs[n]), now, f"{there.name}@{alias}"):  # type: ignore[misc]
            now.entries.append(Entry("PUSHED", f"{slug}@{alias}", f"{there.name}/{pairs[name]}"))
            settled[alias] = name
    for alias in moves.conflicts:
        message = (
            f"MLflow has {names.short(theirs[alias])}, Gyre {names.short(ours[alias])}. Sync it with --pull or --push."
        )
        now.entries.append(Entry("CONFLICT", f"{slug}@{alias}", reason="ALIAS_MOVED_ON_BOTH_SIDES", message=message))
    for alias, name in settled.items() if now.directions.push else ():
        if agreed.get(alias) != name:
            now.mlflow.tag_model(there.name, f"{AGREED}{alias}", name)


def _move(move: Callable[[], object], now: Pass, what: str) -> bool:
    """A gate or a rule of names may refuse one alias; the others go on."""
    try:
        move()
    except GyreError as error:
        if error.unavailable or error.reason == "MLFLOW_UNREACHABLE":
            raise
        now.refused(what, error)
        return False
    return True


def _origin(mlflow: Mlflow, version: Version) -> str:
    """Names a version for good: numbers begin anew where a model was deleted, run ids do not."""
    return f"mlflow://{mlflow.host}/{version.model}/{version.number}" + (
        f"?run={version.run_id}" if version.run_id else ""
    )


def _card(there: Model, version: Version, run: Run) -> str:
    lines = [f"# {there.name}", "", there.description, "", "## From MLflow", ""]
    lines += [f"- {key}: {value}" for key, value in sorted({**there.tags, **version.tags}.items()) if not _is_own(key)]
    lines += [f"- parameter {key}: {value}" for key, value in sorted(run.params.items())]
    lines += [f"- metric {key}: {value:g}" for key, value in sorted(run.metrics.items())]
    return "\n".join(lines) + "\n"


def _ours_of(model: Model) -> str:
    return model.tags.get(MODEL) or choosing.slug(model.name)


def _is_own(key: str) -> bool:
    return key.startswith(("gyre.", "mlflow."))


def _state(version: GyreVersion) -> str:
    return messages.enum_name(version, "state")
