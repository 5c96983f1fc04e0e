"""Checkpoints: what the Trainer writes, vouched for by a manifest that comes last; and the newest one to go on from.

The Trainer's own files are adapter or weights (safetensors), optimizer, scheduler and random state. The latter three
are PyTorch archives, which Transformers loads with `weights_only=True`: no code in them can run.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gyre_kit.storage import ObjectStore, key_of, uri_of

from gyre_trainers import manifest
from gyre_trainers.exits import BadInput
from gyre_trainers.report import Saved
from gyre_trainers.spec import Artifact, Spec

log = logging.getLogger("gyre_trainers.checkpoints")

KEPT: Final = 3  # of one attempt; more than one, so that a damaged one costs some steps, not all
NEEDLESS: Final = ("training_args.bin", "README.md")  # a pickle that nobody reads, a card that nobody wrote
LISTING: Final = re.compile(r"(?P<prefix>.+/(?P<attempt>\d+)/checkpoint-(?P<step>\d+))/manifest\.json")


@dataclass(frozen=True)
class Stored:
    step: int
    prefix: str
    attempt: int


@dataclass(frozen=True)
class Resume:
    folder: Path
    step: int


def identity(spec: Spec) -> dict[str, Any]:
    """What must be the same for a checkpoint to be of any use; stored in its manifest."""
    return {
        "run": spec.run,
        "method": str(spec.method),
        "base": spec.base.model_dump(),
        "data": [file.model_dump() for file in spec.data],
        "seed": spec.seed,
        "hyperparameters": spec.hyperparameters.model_dump(),
    }


async def publish(
    store: ObjectStore, spec: Spec, folder: Path, step: int, score: float | None = None, best_step: int = 0
) -> Saved:
    """Completes the Trainer's `folder` by its manifest, and puts it into the store where it does not lie there already.

    `score` says how good it is, lower is better; the one of `best_step` is kept however old it is.
    """
    for name in NEEDLESS:
        (folder / name).unlink(missing_ok=True)
    facts = {"kind": "checkpoint", "attempt": spec.attempt, "step": step, "score": score, **identity(spec)}
    digest = manifest.write(folder, facts)
    prefix = f"{spec.output}/{folder.name}"
    if store.local_path(prefix) != folder:
        await store.put_folder(prefix, folder, last=manifest.NAME)
    mine = await _listed(store, spec, attempts=(spec.attempt,))
    unwanted = [old for old in mine[KEPT:] if old.step != best_step]
    await drop(store, unwanted, beside=folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Saved(step, uri_of(prefix), digest, size, tuple(it.step for it in mine if it not in unwanted))


async def drop(store: ObjectStore, unwanted: list[Stored], beside: Path) -> None:
    """Deletes checkpoints, manifest first, so that a half-deleted one is none; `beside` is where the Trainer writes."""
    for old in unwanted:
        keys = await store.list(old.prefix)
        await store.delete([key for key in keys if key.endswith(manifest.NAME)])
        await store.delete([key for key in keys if not key.endswith(manifest.NAME)])
        shutil.rmtree(beside.with_name(f"checkpoint-{old.step}"), ignore_errors=True)


async def newest(
    store: ObjectStore,
    spec: Spec,
    scratch: Path,
    *,
    up_to: float = math.inf,
    on_damage: Callable[[str], None] = lambda _: None,
) -> Resume | None:
    """The checkpoint with most steps, of any attempt so far, that is whole and of this very run; None for a fresh start.

    `resume_from` is tried first; if it is damaged, the others are. None has more than `up_to` steps.
    """
    listed = [it.prefix for it in await _listed(store, spec, attempts=range(1, spec.attempt + 1)) if it.step <= up_to]
    if spec.resume_from is not None:
        listed.insert(0, key_of(spec.resume_from))
    for prefix in listed:
        folder = await store.fetch_folder(prefix, scratch / "resume")
        content = manifest.verified(folder)
        if content is not None and content.items() >= identity(spec).items():
            return Resume(folder, int(content["step"]))
        log.warning("checkpoint %s is damaged or of another run: trying an older one", prefix)
        if content is None:
            on_damage(prefix)
    return None


async def best(store: ObjectStore, spec: Spec) -> Stored | None:
    """The one with the lowest score; of equals, and of those without one, the one with most steps."""
    listed = await _listed(store, spec, attempts=range(1, spec.attempt + 1))
    scores = [json.loads(await store.get(f"{it.prefix}/{manifest.NAME}")).get("score") for it in listed]
    ranked = sorted(zip(scores, listed, strict=True), key=lambda it: math.inf if it[0] is None else it[0])
    return ranked[0][1] if ranked else None


async def drop_later(store: ObjectStore, spec: Spec, step: int, beside: Path) -> None:
    """Deletes what this attempt saved after `step`; what others saved is not its to delete."""
    mine = await _listed(store, spec, attempts=(spec.attempt,))
    await drop(store, [it for it in mine if it.step > step], beside)


async def fetch(store: ObjectStore, checkpoint: Artifact, scratch: Path) -> Path:
    """A checkpoint of another run, as it was when it was chosen. Raises: BadInput if it is gone or damaged."""
    folder = await store.fetch_folder(key_of(checkpoint.uri), scratch / "begin")
    whole = manifest.verified(folder) is not None
    if not whole or checkpoint.digest not in ("", f"sha256:{manifest.sha256(folder / manifest.NAME)}"):
        raise BadInput("begin_from", f"the checkpoint {checkpoint.uri} is gone or damaged", "fork another one")
    return folder


async def _listed(store: ObjectStore, spec: Spec, attempts: Any) -> list[Stored]:
    """The checkpoints with a manifest, most steps first."""
    found = [LISTING.fullmatch(key) for key in await store.list(spec.run_prefix)]
    listed = [Stored(int(it["step"]), it["prefix"], int(it["attempt"])) for it in found if it]
    listed = [it for it in listed if it.attempt in attempts]
    return sorted(listed, key=lambda it: (it.step, it.attempt), reverse=True)
