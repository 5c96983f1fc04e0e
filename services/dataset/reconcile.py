"""Long work: imports, and the files of what was deleted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from gyre_kit.app import Context
from gyre_kit.names import last
from gyre_kit.reconcile import Claim, lease
from gyre_kit.storage import digest_of_file, key_of, uri_of
from ulid import ULID

from services.dataset import creation, service, store
from services.dataset.models import Version, VersionState
from services.dataset.uploads import PREFIX as UPLOADS

log = logging.getLogger(__name__)
Result = TypeVar("Result")
LEASE_SECONDS = 15.0
MAX_CRASHES = 3
FILES = ("rows.parquet", "train.parquet", "test.parquet", "rejects.jsonl", "profile.json")
COUNTED = (
    "row_count", "train_count", "test_count", "refused_count", "duplicate_count", "near_duplicate_count",
    "file_type", "encoding", "row_format", "digest", "failure_reason", "failure_message",
)  # fmt: skip


class Crashed(Exception):
    """The import's process ended by a fault of ours."""


class SourceGone(Exception):
    """An object that the import needs is not in the store."""


async def import_versions(context: Context) -> bool:
    """Imports one version: 1 claim, 2 read and split in a process, store the files, 3 say so if the lease holds."""
    where = Version.state == VersionState.IMPORTING
    async with lease(context.db, Version, where, seconds=LEASE_SECONDS) as claim:
        if claim is None:
            return False
        try:
            facts = await _under_lease(context, claim, _import(context, claim.row))
        except SourceGone as gone:
            facts = {"failure_reason": "SOURCE_GONE", "failure_message": str(gone)}
        except Crashed as crash:
            await _note_crash(context, claim, crash)
            return False
        await _finish(context, claim, facts)
    return True


async def _import(context: Context, version: Version) -> dict[str, Any]:
    """Brings the inputs here, runs the import on them, puts its files in place. Returns the fields of the version.

    Raises: SourceGone; Crashed.
    """
    with tempfile.TemporaryDirectory(prefix="gyre-import-") as folder:
        scratch = Path(folder)
        out, job_file = scratch / "out", scratch / "job.json"
        out.mkdir()
        job_file.write_text(json.dumps(await _job(context, version, scratch / "in")), encoding="utf-8")
        code, said = await _run_process(job_file, out)
        if code != 0:
            raise Crashed(f"exit code {code}: {said[-500:]}")
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        return await _store_files(context, version, out, result)


async def _job(context: Context, version: Version, folder: Path) -> dict[str, Any]:
    """The job as the process reads it (importer.pipeline.Job)."""
    settings = version.split_settings
    mixed = []
    for mix in version.mix_in:
        other = await _other_version(context, mix["version"])
        path = await _fetched(context, f"{other.prefix}/rows.parquet", folder)
        mixed.append({"version": other.name, "rows": path, "max_rows": mix["max_rows"]})
    source = await _fetched(context, key_of(version.source_uri), folder) if version.source_uri else ""
    return {
        "dataset_type": version.type,
        "source": source,
        "filename": version.source_filename,
        "file_type": version.file_type,
        "row_format": version.row_format,
        "split": settings | {"holdouts": {one["slice"]: one["test_rows"] for one in settings["holdouts"]}},
        "mixed": mixed,
        "max_rows": context.settings.max_rows,
        "max_characters": context.settings.max_row_characters,
    }


async def _other_version(context: Context, name: str) -> Version:
    async with context.db.transaction() as session:
        return await service.get_version(session, name)


async def _fetched(context: Context, key: str, folder: Path) -> str:
    try:
        return str(await context.store.fetch(key, folder))
    except FileNotFoundError:
        raise SourceGone(f"The object {uri_of(key)} is no longer there; upload the file again.") from None


async def _run_process(job: Path, out: Path) -> tuple[int, str]:
    """Runs work.py; whatever ends this task ends the process too. Returns its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.dataset.work", str(job), str(out)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "2"},
    )
    assert process.stderr is not None
    try:
        said = await process.stderr.read()  # stdin stays open: its end is the process's end
        return await process.wait(), said.decode(errors="replace")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _store_files(context: Context, version: Version, out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Puts the files in place and returns the fields of the version; a failed one has its rejects alone."""
    facts = {key: result[key] for key in COUNTED}
    if result["failure_reason"]:
        await context.store.put_file(f"{version.prefix}/rejects.jsonl", out / "rejects.jsonl")
        return facts
    for name in FILES:
        await context.store.put_file(f"{version.prefix}/{name}", out / name)
    profile = result["profile"]
    return facts | {
        "uri": uri_of(version.prefix),
        "size_bytes": sum((out / name).stat().st_size for name in FILES),
        "profile_json": json.dumps(profile, ensure_ascii=False),
        "slices": profile["slices"],
        "train_uri": uri_of(f"{version.prefix}/train.parquet"),
        "train_digest": digest_of_file(out / "train.parquet"),
        "test_uri": uri_of(f"{version.prefix}/test.parquet"),
        "test_digest": digest_of_file(out / "test.parquet"),
    }


async def _finish(context: Context, claim: Claim[Version], facts: dict[str, Any]) -> None:
    async with context.db.transaction() as session:
        await service.get_dataset(session, claim.row.dataset, lock=True)  # before the version, as deletes do
        version = await claim.reload(session)
        if version.state != VersionState.IMPORTING:
            return  # deleted meanwhile; the files go with the tombstone
        if facts.get("failure_reason"):
            await creation.fail_version(session, version, facts)
        else:
            await creation.finish_version(session, version, facts)


async def _note_crash(context: Context, claim: Claim[Version], crash: Crashed) -> None:
    log.error("import crashed", extra={"version": claim.row.name, "error": str(crash)})
    async with context.db.transaction() as session:
        await service.get_dataset(session, claim.row.dataset, lock=True)
        version = await claim.reload(session)
        version.crashes += 1
        if version.crashes >= MAX_CRASHES and version.state == VersionState.IMPORTING:
            message = (
                f"The import crashed {version.crashes} times, most likely for want of memory. Split the file; the log "
                "of the dataset service has the details."
            )
            await creation.fail_version(
                session, version, {"failure_reason": "IMPORT_CRASHED", "failure_message": message}
            )


async def _under_lease(context: Context, claim: Claim[Version], work: Coroutine[Any, Any, Result]) -> Result:
    """Renews the lease while `work` runs, and breaks `work` off when it cannot. Raises: LeaseLost."""
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([working], timeout=LEASE_SECONDS / 3))[0]:
            await claim.extend(context.db, LEASE_SECONDS)
        return working.result()
    finally:
        working.cancel()
        await asyncio.wait([working])


async def collect_versions(context: Context) -> bool:
    """Removes the files of one version whose tombstone is old enough, and what pins have expired."""
    before = context.clock.now() - timedelta(days=context.settings.tombstone_days)
    async with lease(context.db, Version, store.is_collectable(before)) as claim:
        if claim is None:
            async with context.db.transaction() as session:
                await store.drop_expired_pins(session)
            return False
        keys = await context.store.list(claim.row.prefix)
        if keys:
            await context.store.delete(keys)
        async with context.db.transaction() as session:
            version = await claim.reload(session)
            version.collected, version.size_bytes = True, 0
    return True


async def forget_uploads(context: Context) -> bool:
    """Removes uploads that no version has taken in time, and objects of a service that died between object and row.

    The row goes first, so that nobody takes the upload any more; its object is a stray then.
    """
    before = context.clock.now() - timedelta(hours=context.settings.upload_hours)
    async with context.db.transaction() as session:
        await store.forget_uploads(session, before)
    old = [key for key in await context.store.list(UPLOADS) if ULID.from_str(last(key)).datetime < before]
    async with context.db.transaction() as session:
        known = await store.known_uploads(session, [uri_of(key) for key in old])
    strays = [key for key in old if uri_of(key) not in known]
    if strays:
        await context.store.delete(strays)
    return False
