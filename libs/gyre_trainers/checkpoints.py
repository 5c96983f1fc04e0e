"""Checkpoints: what the Trainer writes, vouched for by a manifest that comes last; and the newest one to go on from.

The Trainer's own files are adapter or weights (safetensors), optimizer, scheduler and random state. The latter three
are PyTorch archives, which Transformers loads with `weights_only=True`: no code in them can run.
"""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gyre_kit.storage import ObjectStore, key_of, uri_of

from gyre_trainers import manifest
from gyre_trainers.report import Saved
from gyre_trainers.spec import Spec

log = logging.getLogger("gyre_trainers.checkpoints")

KEPT: Final = 3  # of one attempt; more than one, so that a damaged one costs some steps, not all
NEEDLESS: Final = ("training_args.bin", "README.md")  # a pickle that nobody reads, a card that nobody wrote
LISTING: Final = re.compile(r"(?P<prefix>.+/(?P<attempt>\d+)/checkpoint-(?P<step>\d+))/manifest\.json")


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


async def publish(store: ObjectStore, spec: Spec, folder: Path, step: int) -> Saved:
    """Completes the Trainer's `folder` by its manifest, and puts it into the store where it does not lie there already."""
    for name in NEEDLESS:
        (folder / name).unlink(missing_ok=True)
    facts = {"kind": "checkpoint", "attempt": spec.attempt, "step": step, **identity(spec)}
    digest = manifest.write(folder, facts)
    prefix = f"{spec.output}/{folder.name}"
    if store.local_path(prefix) != folder:
        await store.put_folder(prefix, folder, last=manifest.NAME)
    await _drop_old(store, spec, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Saved(step, uri_of(prefix), digest, size)


async def _drop_old(store: ObjectStore, spec: Spec, newest: Path) -> None:
    """Deletes this attempt's oldest checkpoints, manifest first, so that a half-deleted one is none."""
    for _, prefix in (await _listed(store, spec, attempts=(spec.attempt,)))[KEPT:]:
        keys = await store.list(prefix)
        await store.delete([key for key in keys if key.endswith(manifest.NAME)])
        await store.delete([key for key in keys if not key.endswith(manifest.NAME)])
        shutil.rmtree(newest.with_name(prefix.rpartition("/")[2]), ignore_errors=True)


async def newest(store: ObjectStore, spec: Spec, scratch: Path) -> Resume | None:
    """The checkpoint with most steps, of any attempt so far, that is whole and of this very run; None for a fresh start.

    `resume_from` is tried first; if it is damaged, the others are.
    """
    listed = [prefix for _, prefix in await _listed(store, spec, attempts=range(1, spec.attempt + 1))]
    if spec.resume_from is not None:
        listed.insert(0, key_of(spec.resume_from))
    for prefix in listed:
        folder = await store.fetch_folder(prefix, scratch / "resume")
        content = manifest.verified(folder)
        if content is not None and content.items() >= identity(spec).items():
            return Resume(folder, int(content["step"]))
        log.warning("checkpoint %s is damaged or of another run: trying an older one", prefix)
    return None


async def _listed(store: ObjectStore, spec: Spec, attempts: Any) -> list[tuple[int, str]]:
    """(step, prefix) of the checkpoints with a manifest, most steps first."""
    found = [LISTING.fullmatch(key) for key in await store.list(spec.run_prefix)]
    matches = [match for match in found if match and int(match["attempt"]) in attempts]
    matches.sort(key=lambda match: (int(match["step"]), int(match["attempt"])), reverse=True)
    return [(int(match["step"]), match["prefix"]) for match in matches]
