"""The worker's main: `python -m gyre_trainers.run SPEC`. See exits.py for how it ends.

The order matters: the spec is checked and the first heartbeat sent before torch is imported, which takes seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyre_kit.storage import BadKey, ObjectStore, key_of

from gyre_trainers import exits
from gyre_trainers.exits import BadInput, RolledBack, Stopped, Unwell
from gyre_trainers.methods import METHODS
from gyre_trainers.report import Reporter
from gyre_trainers.spec import Spec, read_spec

if TYPE_CHECKING:
    from gyre_trainers import fit

log = logging.getLogger("gyre_trainers")


def main(argv: list[str]) -> int:
    """Trains what the spec at `argv[1]` says and returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    write_warnings_for_people()
    if len(argv) != 2:
        print("usage: python -m gyre_trainers.run SPEC", file=sys.stderr)
        return exits.BAD_INPUT
    try:
        spec = read_spec(Path(argv[1]), Spec)
        bound_threads(spec.threads)
        return attempt(spec)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.BAD_INPUT
    except Stopped:
        log.info("stopped as asked")
        return exits.STOPPED
    except Unwell as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.UNWELL


def write_warnings_for_people() -> None:
    """One line each, without the path of a library's file; what libraries plan to change is no news to who trains."""
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", FutureWarning)
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}"


def attempt(spec: Spec) -> int:
    """Raises: BadInput; Stopped; Unwell."""
    reporter = Reporter(spec)
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop_requested.set())
    reporter.start()
    try:
        with tempfile.TemporaryDirectory(prefix="gyre-trainer-") as scratch:
            train(spec, reporter, Path(scratch))
    finally:
        reporter.close()
    return exits.DONE


def train(spec: Spec, reporter: Reporter, scratch: Path) -> None:
    """Fetches, fits, publishes, reports. Raises: BadInput; Stopped; Unwell."""
    store = ObjectStore.from_url(spec.object_store)
    paths = asyncio.run(fetch(spec, store, scratch))
    from gyre_trainers import checks, fit

    job = fit.Job(spec=spec, store=store, reporter=reporter, scratch=scratch, **paths)
    checks.check(job)
    fitted = fit_to_the_end(job)
    digest = asyncio.run(fit.publish(job, fitted))
    reporter.complete(fit.manifest_uri(spec), digest, fitted.steps, fitted.metrics)
    log.info("%s is done after %d steps", spec.run, fitted.steps)


def fit_to_the_end(job: fit.Job) -> fit.Fitted:
    """Each way back to an earlier checkpoint builds model and optimizer anew: nothing of what went wrong is left."""
    from transformers import set_seed

    method: Any = importlib.import_module(METHODS[job.spec.method].module)
    while True:
        set_seed(job.spec.seed)  # new adapters and heads begin at random
        try:
            fitted: fit.Fitted = method.train(job)
            return fitted
        except RolledBack as back:
            log.warning("%s: %s", job.spec.run, back)
            job = replace(job, back=back.to)


async def fetch(spec: Spec, store: ObjectStore, scratch: Path) -> dict[str, Any]:
    """Base, reward model and rows on this machine, and where the output goes. Raises: BadInput."""
    from gyre_trainers import base, checkpoints

    reward_model = begin_from = None
    if spec.begin_from is not None:
        begin_from = await checkpoints.fetch(store, spec.begin_from, scratch)
    if spec.reward_model is not None:
        reward_model = await base.obtain(store, spec.reward_model, scratch / "reward_model", "reward_model")
    return {
        "base": await base.obtain(store, spec.base, scratch / "base"),
        "reward_model": reward_model,
        "begin_from": begin_from,
        "data": [await fetch_rows(store, file.uri, at, scratch) for at, file in enumerate(spec.data)],
        "output": store.local_path(spec.output) or scratch / "output",
    }


async def fetch_rows(store: ObjectStore, uri: str, at: int, scratch: Path) -> Path:
    try:
        return await store.fetch(key_of(uri), scratch)
    except (BadKey, FileNotFoundError) as error:
        raise BadInput(f"data.{at}.uri", f"{uri} is not there", "pick a ready data set version") from error


def bound_threads(threads: int) -> None:
    """Before torch and NumPy are imported, for they read these once; a trainer keeps to the cores it was admitted to.

    Idle threads sleep rather than spin: on cores shared with services and replicas, spinning costs both sides dearly.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
